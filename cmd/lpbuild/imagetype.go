package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// imageTypeOf tells by its first members what a base image is: "lxd" for a
// container image, "chroot" for everything else, which the builder will refuse
// if it can do nothing with it.
func imageTypeOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	content, err := decompress(bufio.NewReader(f))
	if err != nil {
		return "chroot", nil // it is not a container image
	}
	const first = 16
	members := tar.NewReader(content)
	for range first {
		member, err := members.Next()
		if err != nil {
			break
		}
		name := path.Clean(member.Name)
		top, _, _ := strings.Cut(name, "/")
		switch {
		case name == "metadata.yaml", top == "rootfs":
			return "lxd", nil
		case top == "chroot-autobuild":
			return "chroot", nil
		}
	}
	return "chroot", nil
}

// decompress reads what any program for archives writes.
func decompress(r *bufio.Reader) (io.Reader, error) {
	const longest = 6
	start, err := r.Peek(longest)
	switch {
	case err != nil:
		return nil, err
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return gzip.NewReader(r)
	case bytes.HasPrefix(start, []byte("\xfd7zXZ\x00")):
		return xz.NewReader(r)
	case bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")):
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return d, nil
	case bytes.HasPrefix(start, []byte("BZh")):
		return bzip2.NewReader(r), nil
	}
	return r, nil
}
