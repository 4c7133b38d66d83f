//go:build integration

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends/backendtest"
	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

// work is something to build, and what must come of it.
type work struct {
	image string
	files map[string]string
	args  map[string]any
	// results are the names of what an undisturbed build brings, with their
	// SHA-1 where it is known beforehand, else "".
	results map[string]string
	// lines must be in the log of an undisturbed build, in this order; last is
	// there when only our own work is left.
	lines []string
	last  string
}

// request is a call to do the work.
func (w work) request(id string) buildd.Request {
	return buildd.Request{BuildID: id, Tag: "binarypackage", Image: w.image, Files: ordered.Sorted(w.files), Args: w.args}
}

// with is the same work with other arguments.
func (w work) with(args map[string]any) work {
	merged := map[string]any{}
	maps.Copy(merged, w.args)
	maps.Copy(merged, args)
	w.args = merged
	return w
}

// arguments are those of a build, but for its archives.
func arguments(t *testing.T) map[string]any {
	return map[string]any{
		"arch_tag": hostArch(t), "archive_private": false, "archive_purpose": "PRIMARY",
		"archives": []any{"deb http://archive.invalid/ bookworm main"}, "arch_indep": false,
		"build_debug_symbols": false, "fast_cleanup": false, "image_type": "chroot",
		"ogrecomponent": "main", "series": "bookworm", "suite": "bookworm", "trusted_keys": []any{},
	}
}

// standInApt runs instead of apt-get in cheap builds. The suite of the archive
// tells it what to do: "nap0.5" is a pause, "fill" and "litter" fill the
// disk, and "show" prints the package sources.
const standInApt = `#!/bin/sh
suite=$(sed -n 's/^Suites: //p' /etc/apt/sources.list.d/lp-buildd.sources)
echo "stand-in for apt-get: $suite"
case "$suite $*" in
nap*) sleep "${suite#nap}" ;;
fill*dist-upgrade) dd if=/dev/zero of=/filled bs=64k; exit 100 ;;
litter*dist-upgrade) i=0; while touch /litter$i; do i=$((i+1)); done; rm -f /litter*; exit 100 ;;
show*) cat /etc/apt/sources.list.d/lp-buildd.sources; sleep 1 ;;
esac
exit 0
`

// standInSbuildrc makes sbuild run the input file "script" and nothing else.
const standInSbuildrc = `
exit(system('/bin/sh', './script') >> 8);
1;
`

// cheapDsc is a source package that nobody looks into.
const cheapDsc = "Format: 1.0\nSource: cheap\nBinary: cheap\nArchitecture: any\nVersion: 1\n" +
	"Maintainer: Nobody <nobody@example.org>\nStandards-Version: 4.6.2\n"

// useStandIn makes all builds of this builder cheap ones.
func (b *builder) useStandIn() {
	b.t.Helper()
	must(b.t, os.WriteFile(filepath.Join(b.home, ".sbuildrc"), []byte(standInSbuildrc), 0o644))
}

// cheapImage makes a small base image with so many bytes in it that do not
// compress, and brings it into the cache.
func (b *builder) cheapImage(ballast int) string {
	b.t.Helper()
	data := make([]byte, ballast)
	random := rand.NewChaCha8([32]byte{byte(ballast)})
	_, _ = random.Read(data)
	return b.putFile(backendtest.MiniImage(b.t,
		backendtest.Entry{Name: "etc/apt", Dir: true},
		backendtest.Entry{Name: "etc/apt/sources.list.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/apt.conf.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/preferences.d", Dir: true},
		backendtest.Entry{Name: "usr/bin/apt-get", Data: standInApt},
		backendtest.Entry{Name: "ballast", Data: string(data)},
	))
}

// cheap is work that runs a shell script on the host, as the build user in the
// build directory, instead of sbuild.
func (b *builder) cheap(image, script string) work {
	b.t.Helper()
	return work{
		image: image,
		files: map[string]string{"cheap_1.dsc": b.put([]byte(cheapDsc)), "script": b.put([]byte(script))},
		args:  arguments(b.t),
	}
}

// suite is the work with another answer of the stand-in for apt-get.
func (w work) suite(name string) work {
	return w.with(map[string]any{"archives": []any{"deb http://archive.invalid/ " + name + " main"}})
}

// changes is the name of the .changes file of cheap work.
func changes(t *testing.T) string { return "cheap_1_" + hostArch(t) + ".changes" }

// deliver is a script that makes these results, by their content, and a
// .changes file that lists them.
func deliver(t *testing.T, results map[string]string) string {
	var script, list strings.Builder
	for name, content := range results {
		fmt.Fprintf(&script, "printf '%%s' '%s' >%s\n", content, name)
		fmt.Fprintf(&list, " 0 0 misc optional %s\n", name)
	}
	fmt.Fprintf(&script, "cat >%s <<END\nFormat: 1.8\nFiles:\n%sEND\n", changes(t), list.String())
	return script.String()
}

// held is cheap work that goes on, and delivers results, when it is let go.
func (b *builder) held(image string) work {
	b.t.Helper()
	w := b.cheap(image, "echo held.\nwhile [ ! -e go ]; do sleep 0.05; done\n"+deliver(b.t, map[string]string{"cheap_1.deb": "x"}))
	w.results = map[string]string{changes(b.t): "", "cheap_1.deb": sha1Of([]byte("x"))}
	w.lines = []string{"\nheld.\n", "\nBuild summary\n", "Result:     OK\n"}
	return w
}

// letGo lets held work go on.
func (b *builder) letGo(id string) {
	b.t.Helper()
	must(b.t, os.WriteFile(filepath.Join(b.home, "build-"+id, "go"), nil, 0o644))
}

// steady is cheap work that takes about a second, says something all the
// time, and delivers results.
func (b *builder) steady(image string) work {
	b.t.Helper()
	results := map[string]string{"cheap_1.deb": "one", "cheap_2.deb": strings.Repeat("two", 20_000)}
	script := "i=0\nwhile [ $i -lt 20 ]; do i=$((i+1)); echo \"steady $i.\"; sleep 0.02; done\n" +
		deliver(b.t, results) + "echo steady end.\n"
	w := b.cheap(image, script).suite("nap0.1")
	w.last = "\nsteady end.\n"
	w.results = map[string]string{changes(b.t): ""}
	for name, content := range results {
		w.results[name] = sha1Of([]byte(content))
	}
	for i := range 20 {
		w.lines = append(w.lines, fmt.Sprintf("\nsteady %d.\n", i+1))
	}
	w.lines = append(w.lines, w.last, "\nBuild summary\n", "Result:     OK\n")
	return w
}
