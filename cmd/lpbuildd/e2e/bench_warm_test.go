//go:build integration

package e2e

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
)

// BenchmarkWarmBuild measures what the daemon itself costs a build whose base
// image it has unpacked before: the time from build() until the status says
// WAITING, without the stage "update", which is two calls of apt-get, and
// without sbuild. The metrics are medians of rounds of five builds.
//
// The build is a real one, by the manager's usual arguments with a package
// source and a key, of a package with nothing in it. How long sbuild ran it
// says itself, from the start of its process, as the kernel knows it, to its
// end (see sbuildClock); everything else of the stage "build" is the daemon's.
func BenchmarkWarmBuild(b *testing.B) {
	home, _ := os.UserCacheDir()
	base := cmp.Or(os.Getenv("LPBUILDD_TEST_IMAGE"), filepath.Join(home, "lpbuildd", "base-bookworm-amd64.tar.gz"))
	if _, err := os.Stat(base); err != nil {
		b.Skipf("needs a base image (see .ci/base-image): %v", err)
	}
	d := startDaemon(b)
	d.installSbuildClock(b)
	image, files := d.offer(b, base), d.offerPackage(b)
	extra := map[string]any{
		"archives":     []any{"deb [trusted=yes] " + serveFiles(b, emptyArchive) + " ./"},
		"trusted_keys": []any{base64.StdEncoding.EncodeToString([]byte(benchKey))},
	}
	d.buildOnce(b, image, files, extra)
	const round = 5
	all := timings{}
	for b.Loop() {
		for range round {
			all.add(d.buildOnce(b, image, files, extra))
		}
	}
	all.report(b)
	b.ReportMetric(0, "ns/op")
}

// buildOnce builds, cleans, and says how long everything took, in seconds.
func (d *benchDaemon) buildOnce(b *testing.B, image string, files map[string]string, extra map[string]any) map[string]float64 {
	b.Helper()
	clock := filepath.Join(d.home(), ".sbuild-seconds")
	_ = os.Remove(clock)
	start := time.Now()
	d.build(b, image, files, extra)
	st := d.await(b, 5*time.Millisecond, isState(buildd.Waiting))
	wall := time.Since(start).Seconds()
	log := read(b, filepath.Join(d.cache(), "buildlog"))
	if st.Outcome != "OK" {
		b.Fatalf("the build ended as %s:\n%s", st.Outcome, log)
	}
	took := stageTimes(b, log)
	sbuild, err := strconv.ParseFloat(strings.TrimSpace(read(b, clock)), 64)
	must(b, err)
	must(b, d.client.Clean(context.WithoutCancel(b.Context())))

	took["build"] -= sbuild
	own := 0.0
	for stage, seconds := range took {
		if stage != "update" {
			own += seconds
		}
	}
	took["overhead"] = wall - took["update"] - sbuild
	took["outside"] = took["overhead"] - own
	took["sbuild"] = sbuild
	return took
}

// stageTimes reads the summary at the end of a log, in seconds.
func stageTimes(b *testing.B, log string) map[string]float64 {
	b.Helper()
	_, list, found := strings.Cut(log[strings.LastIndex(log, "\nBuild summary\n")+1:], "  Time: ")
	_, list, _ = strings.Cut(list, "(")
	if !found {
		b.Fatalf("the log has no summary:\n%s", log)
	}
	took := map[string]float64{}
	for _, m := range regexp.MustCompile(`(\w+) ([0-9.]+) s[,)]`).FindAllStringSubmatch(list, -1) {
		seconds, err := strconv.ParseFloat(m[2], 64)
		must(b, err)
		took[m[1]] = seconds
	}
	return took
}

// timings are the seconds that each part of each build took.
type timings map[string][]float64

func (t timings) add(one map[string]float64) {
	for part, seconds := range one {
		t[part] = append(t[part], seconds)
	}
}

func (t timings) report(b *testing.B) {
	b.Helper()
	for part, seconds := range t {
		slices.Sort(seconds)
		b.ReportMetric(1000*seconds[len(seconds)/2], part+"-ms")
	}
}

// sbuildClock is Perl at the end of sbuild's configuration: the last thing that
// the process of sbuild does is to write how old it is. The kernel notes the
// start in steps of 10 ms.
const sbuildClock = `
our $clocked = $$;
END {
    if ($$ == $clocked) {
        my $status = $?;
        require Time::HiRes;
        open(my $in, '<', '/proc/self/stat');
        my ($fields) = <$in> =~ /.*\) (.*)/;
        my $age = Time::HiRes::clock_gettime(7) - (split ' ', $fields)[19] / 100;
        open(my $out, '>', '@HOME@/.sbuild-seconds');
        printf $out "%.3f\n", $age;
        close $out;
        $? = $status;
    }
}
1;
`

// installSbuildClock gives the build user a configuration of sbuild of its own,
// which is the shipped one and sbuildClock.
func (d *benchDaemon) installSbuildClock(b *testing.B) {
	b.Helper()
	shipped := read(b, filepath.Join(d.dir, "share", "sbuildrc"))
	text := shipped + strings.ReplaceAll(sbuildClock, "@HOME@", d.home())
	must(b, os.WriteFile(filepath.Join(d.home(), ".sbuildrc"), []byte(text), 0o644))
}

// emptyArchive serves a package archive without packages.
func emptyArchive(w http.ResponseWriter, r *http.Request) {
	switch filepath.Base(r.URL.Path) {
	case "Release":
		fmt.Fprintf(w, "Origin: bench\nSuite: bench\nCodename: bench\nDate: Thu, 02 Jan 2020 03:04:05 UTC\nSHA256:\n %x 0 Packages\n", sha256.Sum256(nil))
	case "Packages":
	default:
		http.NotFound(w, r)
	}
}

// offerPackage makes the daemon download a source package that needs nothing
// and has nothing in it, and returns its files by name.
func (d *benchDaemon) offerPackage(b *testing.B) map[string]string {
	b.Helper()
	dir := b.TempDir()
	source := sourceTarball(b)
	const tarball = "lpbench_1.tar.gz"
	dsc := fmt.Sprintf("Format: 3.0 (native)\nSource: lpbench\nBinary: lpbench\nArchitecture: any\nVersion: 1\n"+
		"Maintainer: Nobody <nobody@example.org>\nStandards-Version: 4.6.2\n"+
		"Checksums-Sha256:\n %x %d %s\nFiles:\n %x %d %s\n",
		sha256.Sum256(source), len(source), tarball, md5.Sum(source), len(source), tarball)
	files := map[string]string{}
	for name, data := range map[string][]byte{tarball: source, "lpbench_1.dsc": []byte(dsc)} {
		path := filepath.Join(dir, name)
		must(b, os.WriteFile(path, data, 0o600))
		files[name] = d.offer(b, path)
	}
	return files
}

// sourceTarball is the unpacked source package.
func sourceTarball(b *testing.B) []byte {
	b.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, file := range []struct {
		name, text string
		mode       int64
	}{
		{"source/format", "3.0 (native)\n", 0o644},
		{"control", "Source: lpbench\nSection: misc\nPriority: optional\nMaintainer: Nobody <nobody@example.org>\n" +
			"Standards-Version: 4.6.2\nRules-Requires-Root: no\n\n" +
			"Package: lpbench\nArchitecture: any\nDescription: nothing\n generated\n", 0o644},
		{"changelog", "lpbench (1) bookworm; urgency=medium\n\n  * Generated.\n\n" +
			" -- Nobody <nobody@example.org>  Thu, 02 Jan 2020 03:04:05 +0000\n", 0o644},
		{"rules", "#!/bin/sh\nset -e\ncase $1 in\nbinary*)\n\tmkdir -p debian/tmp/DEBIAN\n\tdpkg-gencontrol\n" +
			"\tdpkg-deb --root-owner-group --build debian/tmp ..\nesac\n", 0o755},
	} {
		must(b, w.WriteHeader(&tar.Header{
			Name: "lpbench-1/debian/" + file.name, Mode: file.mode, Size: int64(len(file.text)), ModTime: time.Unix(1577934245, 0),
		}))
		_, err := w.Write([]byte(file.text))
		must(b, err)
	}
	must(b, w.Close())
	must(b, z.Close())
	return out.Bytes()
}

// benchKey is a key that nobody has the other half of.
const benchKey = `-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawKZWhYJKwYBBAHaRw8BAQdA7MBoqzMpJ1CUK7OdySWje2hkZwiHEhl1DAkG
gsIvnB+0IUJlbmNobWFyayBrZXkgPGJlbmNoQGV4YW1wbGUub3JnPoiQBBMWCAA4
FiEE8sgw6C+sbv2lHO534qFfr5YoBisFAmsCmVoCGwMFCwkIBwIGFQoJCAsCBBYC
AwECHgECF4AACgkQ4qFfr5YoBisX+QEA3h33Gqr1ujF1FGNaglS9u+yQJl+VP6lx
e8va5jFFWQsBAMY/VpWPhF15meIpm0zloQHBNE00hVRI3LjV26eQPtAM
=bx82
-----END PGP PUBLIC KEY BLOCK-----
`
