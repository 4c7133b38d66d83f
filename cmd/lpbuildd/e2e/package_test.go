//go:build integration

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The source package of real builds. Its rules need nothing but dpkg.
const (
	realControl = `Source: lpbuildd-e2e
Section: misc
Priority: optional
Maintainer: Nobody <nobody@example.org>
Standards-Version: 4.6.2
Rules-Requires-Root: no
@FIELDS@
Package: lpbuildd-e2e
Architecture: any
Description: package of a test
 generated
`
	realChangelog = `lpbuildd-e2e (1.0) bookworm; urgency=medium

  * Generated.

 -- Nobody <nobody@example.org>  Thu, 02 Jan 2020 03:04:05 +0000
`
	realRules = `#!/bin/sh
set -e
case "$1" in
clean|build*) ;;
binary|binary-arch)
  echo "real begin."
  @HOOK@
  mkdir -p debian/tmp/DEBIAN debian/tmp/usr/share/doc/lpbuildd-e2e
  echo hello >debian/tmp/usr/share/doc/lpbuildd-e2e/README
  dpkg-gencontrol -plpbuildd-e2e -Pdebian/tmp
  dpkg-deb --root-owner-group --build debian/tmp ..
  echo "real end."
  ;;
binary-indep) ;;
*) exit 2 ;;
esac
`
)

// holding, in the rules of a package, holds its build up until the process holder
// is killed.
const (
	holder  = "sleep 54321"
	holding = holder + " || true"
)

// baseImage brings a real base image into the cache.
func (b *builder) baseImage() string {
	b.t.Helper()
	path := os.Getenv("LPBUILDD_TEST_IMAGE")
	if path == "" {
		cache, err := os.UserCacheDir()
		must(b.t, err)
		path = filepath.Join(cache, "lpbuildd", "base-bookworm-"+hostArch(b.t)+".tar.gz")
	}
	needPrograms(b.t, "mmdebstrap")
	out, err := exec.CommandContext(b.t.Context(), inTree(".ci/base-image"), "bookworm", path).CombinedOutput()
	if err != nil {
		b.t.Fatalf("cannot make the base image: %v\n%s", err, out)
	}
	return b.putFile(path)
}

// realPackage is the build of a generated source package, with a shell command
// in its rules, against an archive of this machine.
func (b *builder) realPackage(image, hook string) work {
	b.t.Helper()
	return b.realPackageWith(image, hook, "")
}

// realPackageWith is the same of a source package with more fields.
func (b *builder) realPackageWith(image, hook, fields string) work {
	b.t.Helper()
	needPrograms(b.t, "dpkg-source", "dpkg-deb")
	arch := hostArch(b.t)
	return work{
		image: image,
		files: b.sourcePackage(hook, fields),
		args:  arguments(b.t),
		results: map[string]string{
			"lpbuildd-e2e_1.0_" + arch + ".deb": "", "lpbuildd-e2e_1.0_" + arch + ".buildinfo": "",
			"lpbuildd-e2e_1.0_" + arch + ".changes": "",
		},
		last:  "\nStatus: successful\n",
		lines: []string{"\nreal begin.\n", "\nreal end.\n", "\nStatus: successful\n", "\nBuild summary\n", "Result:     OK\n"},
	}.with(b.archive(""))
}

// sourcePackage brings the files of the source package into the cache.
func (b *builder) sourcePackage(hook, fields string) map[string]string {
	b.t.Helper()
	files := map[string]string{}
	for _, path := range generateSource(b.t, hook, fields) {
		data, err := os.ReadFile(path)
		must(b.t, err)
		files[filepath.Base(path)] = b.put(data)
	}
	return files
}

// generateSource makes the files of the source package, the .dsc first. fields are
// more lines for its part of debian/control.
func generateSource(t *testing.T, hook, fields string) []string {
	t.Helper()
	if fields != "" {
		fields += "\n"
	}
	dir := t.TempDir()
	top := filepath.Join(dir, "lpbuildd-e2e-1.0")
	writeFiles(t, top, map[string]string{
		"debian/control": strings.ReplaceAll(realControl, "@FIELDS@", fields), "debian/changelog": realChangelog, "debian/source/format": "3.0 (native)\n",
		"debian/rules": strings.ReplaceAll(realRules, "@HOOK@", hook),
	})
	runIn(t, dir, "dpkg-source", "-b", filepath.Base(top))
	return []string{filepath.Join(dir, "lpbuildd-e2e_1.0.dsc"), filepath.Join(dir, "lpbuildd-e2e_1.0.tar.xz")}
}

// fakeroot is what sbuild itself asks for; this package does not need the real
// one. postinst is what it does when it is installed.
func fakeroot(postinst string) binary {
	return binary{"Package: fakeroot\nVersion: 99\n", map[string]string{
		"usr/bin/fakeroot": "#!/bin/sh\nexec \"$@\"\n", "DEBIAN/postinst": "#!/bin/sh\n" + postinst + "\n",
	}}
}

// binary is a binary package for all architectures.
type binary struct {
	fields string
	files  map[string]string
}

// archive serves an archive with fakeroot, and returns the arguments for it.
func (b *builder) archive(postinst string) map[string]any {
	b.t.Helper()
	return map[string]any{"archives": []any{"deb [trusted=yes] " + b.publish("/archive/", fakeroot(postinst)) + " ./"}}
}

// publish serves an archive below a path, instead of what was there, and returns
// its URL. The files of the packages are named 0.deb, 1.deb and so on.
func (b *builder) publish(path string, packages ...binary) string {
	b.t.Helper()
	var index strings.Builder
	for i, p := range packages {
		dir := b.t.TempDir()
		control := p.fields + "Architecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: package of a test\n"
		b.write(filepath.Join(dir, "top"), p.files)
		b.write(filepath.Join(dir, "top"), map[string]string{"DEBIAN/control": control})
		b.command(dir, "dpkg-deb", "--root-owner-group", "-b", "top", "package.deb")
		deb, err := os.ReadFile(filepath.Join(dir, "package.deb"))
		must(b.t, err)
		name := fmt.Sprintf("%d.deb", i)
		b.origin.add(path+name, served{data: deb})
		fmt.Fprintf(&index, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", control, name, len(deb), sha256.Sum256(deb))
	}
	b.origin.add(path+"Packages", served{data: []byte(index.String())})
	release := fmt.Sprintf("Origin: e2e\nSuite: e2e\nCodename: e2e\nDate: Thu, 02 Jan 2020 03:04:05 UTC\nSHA256:\n %x %d Packages\n",
		sha256.Sum256([]byte(index.String())), index.Len())
	return strings.TrimSuffix(b.origin.add(path+"Release", served{data: []byte(release)}), "Release")
}

// write makes files below a folder; scripts can be run.
func (b *builder) write(dir string, files map[string]string) {
	b.t.Helper()
	writeFiles(b.t, dir, files)
}

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		must(t, os.WriteFile(path, []byte(text), mode))
	}
}

// command runs a program that must succeed.
func (b *builder) command(dir string, argv ...string) {
	b.t.Helper()
	runIn(b.t, dir, argv...)
}

func runIn(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}
