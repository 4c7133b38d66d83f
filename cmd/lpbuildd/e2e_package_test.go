//go:build integration

package main_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The source package of real builds. Its rules need nothing but dpkg.
const (
	realControl = `Source: lpbuildd-e2e
Section: misc
Priority: optional
Maintainer: Nobody <nobody@example.org>
Standards-Version: 4.6.2
Rules-Requires-Root: no

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
	// sbuild asks for fakeroot; this package does not need the real one.
	fakerootControl = `Package: fakeroot
Version: 99
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: package of a test
`
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
	out, err := exec.CommandContext(b.t.Context(), "../../.ci/base-image", "bookworm", path).CombinedOutput()
	if err != nil {
		b.t.Fatalf("cannot make the base image: %v\n%s", err, out)
	}
	return b.putFile(path)
}

// realPackage is the build of a generated source package, with a shell command
// in its rules, against an archive of this machine.
func (b *builder) realPackage(image, hook string) work {
	b.t.Helper()
	needPrograms(b.t, "dpkg-source", "dpkg-deb")
	arch := hostArch(b.t)
	return work{
		image: image,
		files: b.sourcePackage(hook),
		args:  arguments(b.t),
		results: map[string]string{
			"lpbuildd-e2e_1.0_" + arch + ".deb": "", "lpbuildd-e2e_1.0_" + arch + ".buildinfo": "",
			"lpbuildd-e2e_1.0_" + arch + ".changes": "",
		},
		last:  "\nStatus: successful\n",
		lines: []string{"\nreal begin.\n", "\nreal end.\n", "\nStatus: successful\n", "\nBuild summary\n", "Result:     OK\n"},
	}.with(map[string]any{"archives": []any{"deb [trusted=yes] " + b.archive() + " ./"}})
}

// sourcePackage generates the files of the source package; fields are more lines
// for its part of debian/control.
func (b *builder) sourcePackage(hook string, fields ...string) map[string]string {
	b.t.Helper()
	const field = "Rules-Requires-Root: no\n"
	control := strings.Replace(realControl, field, field+strings.Join(append(fields, ""), "\n"), 1)
	dir := b.t.TempDir()
	top := filepath.Join(dir, "lpbuildd-e2e-1.0")
	b.write(top, map[string]string{
		"debian/control": control, "debian/changelog": realChangelog, "debian/source/format": "3.0 (native)\n",
		"debian/rules": strings.ReplaceAll(realRules, "@HOOK@", hook),
	})
	b.command(dir, "dpkg-source", "-b", filepath.Base(top))
	files := map[string]string{}
	for _, name := range []string{"lpbuildd-e2e_1.0.dsc", "lpbuildd-e2e_1.0.tar.xz"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		must(b.t, err)
		files[name] = b.put(data)
	}
	return files
}

// archive serves an archive with the one package that sbuild itself wants, and
// returns its URL.
func (b *builder) archive() string {
	b.t.Helper()
	dir := b.t.TempDir()
	b.write(filepath.Join(dir, "top"), map[string]string{
		"DEBIAN/control": fakerootControl, "usr/bin/fakeroot": "#!/bin/sh\nexec \"$@\"\n",
	})
	b.command(dir, "dpkg-deb", "--root-owner-group", "-b", "top", "fakeroot.deb")
	deb, err := os.ReadFile(filepath.Join(dir, "fakeroot.deb"))
	must(b.t, err)
	packages := fmt.Sprintf("%sFilename: ./fakeroot.deb\nSize: %d\nSHA256: %x\n", fakerootControl, len(deb), sha256.Sum256(deb))
	release := fmt.Sprintf("Origin: e2e\nSuite: e2e\nCodename: e2e\nDate: Thu, 02 Jan 2020 03:04:05 UTC\nSHA256:\n %x %d Packages\n",
		sha256.Sum256([]byte(packages)), len(packages))
	b.origin.add("/archive/fakeroot.deb", served{data: deb})
	b.origin.add("/archive/Packages", served{data: []byte(packages)})
	return strings.TrimSuffix(b.origin.add("/archive/Release", served{data: []byte(release)}), "Release")
}

// write makes files below a folder; scripts can be run.
func (b *builder) write(dir string, files map[string]string) {
	b.t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		must(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		must(b.t, os.WriteFile(path, []byte(text), mode))
	}
}

// command runs a program that must succeed.
func (b *builder) command(dir string, argv ...string) {
	b.t.Helper()
	cmd := exec.CommandContext(b.t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
}
