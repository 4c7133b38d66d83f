package selftest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/md5"  // a .dsc has MD5 sums beside others
	"crypto/sha1" // the protocol names files by SHA-1
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"
)

// member is one file of an archive.
type member struct {
	name, text string
	mode       int64
}

// packTar makes a gzipped tarball, the same from the same members.
func packTar(members ...member) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, m := range members {
		h := &tar.Header{
			Name: m.name, Mode: m.mode, Size: int64(len(m.text)), Typeflag: tar.TypeReg,
			ModTime: time.Unix(1577934245, 0), Uname: "root", Gname: "root", Format: tar.FormatUSTAR,
		}
		if strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte(m.text)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

const (
	packageName = "lpbuildd-selftest"
	control     = `Source: lpbuildd-selftest
Section: misc
Priority: optional
Maintainer: lpbuildd <lpbuildd@localhost>
Standards-Version: 4.6.2
Rules-Requires-Root: no

Package: lpbuildd-selftest
Architecture: any
Description: package of a test
 Made, built and thrown away by lpbuildd selftest.
`
	changelog = `lpbuildd-selftest (1.0) unstable; urgency=medium

  * Generated.

 -- lpbuildd <lpbuildd@localhost>  Thu, 02 Jan 2020 03:04:05 +0000
`
	rules = `#!/bin/sh
set -e
case "$1" in
clean|build*|binary-indep) ;;
binary|binary-arch)
  mkdir -p debian/tmp/DEBIAN debian/tmp/usr/share/doc/lpbuildd-selftest
  echo hello >debian/tmp/usr/share/doc/lpbuildd-selftest/README
  dpkg-gencontrol -plpbuildd-selftest -Pdebian/tmp
  dpkg-deb --root-owner-group --build debian/tmp ..
  ;;
*) exit 2 ;;
esac
`
)

// sourcePackage makes a source package that any image can build, by the names of
// its files.
func sourcePackage() (map[string][]byte, error) {
	const top = packageName + "-1.0/"
	data, err := packTar(
		member{top, "", 0o755}, member{top + "debian/", "", 0o755}, member{top + "debian/source/", "", 0o755},
		member{top + "debian/control", control, 0o644}, member{top + "debian/changelog", changelog, 0o644},
		member{top + "debian/source/format", "3.0 (native)\n", 0o644}, member{top + "debian/rules", rules, 0o755},
	)
	if err != nil {
		return nil, err
	}
	const name = packageName + "_1.0.tar.gz"
	list := fmt.Sprintf("%d %s", len(data), name)
	dsc := fmt.Sprintf(`Format: 3.0 (native)
Source: %[1]s
Binary: %[1]s
Architecture: any
Version: 1.0
Maintainer: lpbuildd <lpbuildd@localhost>
Standards-Version: 4.6.2
Package-List:
 %[1]s deb misc optional arch=any
Checksums-Sha1:
 %[2]x %[5]s
Checksums-Sha256:
 %[3]x %[5]s
Files:
 %[4]x %[5]s
`, packageName, sha1.Sum(data), sha256.Sum256(data), md5.Sum(data), list)
	return map[string][]byte{name: data, packageName + "_1.0.dsc": []byte(dsc)}, nil
}

// archive makes a package archive without packages, so that apt in the target
// has one, and needs no other.
func archive() map[string][]byte {
	release := fmt.Sprintf("Origin: lpbuildd\nSuite: selftest\nCodename: selftest\nDate: Thu, 02 Jan 2020 03:04:05 UTC\nSHA256:\n %x 0 Packages\n", sha256.Sum256(nil))
	return map[string][]byte{"Release": []byte(release), "Packages": {}}
}
