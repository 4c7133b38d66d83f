package main

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// tarball has empty files of these names.
func tarball(t *testing.T, names ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range names {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestImageTypesAreRecognised(t *testing.T) {
	compressions := map[string]func(io.Writer) io.WriteCloser{
		"plain": func(w io.Writer) io.WriteCloser { return nopCloser{w} },
		"gzip":  func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"xz": func(w io.Writer) io.WriteCloser {
			compressed, err := xz.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return compressed
		},
		"zstd": func(w io.Writer) io.WriteCloser {
			compressed, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return compressed
		},
	}
	contents := []struct {
		name, want string
		data       []byte
	}{
		{"a container image", "lxd", tarball(t, "metadata.yaml", "rootfs/x")},
		{"a container image with dots", "lxd", tarball(t, "./templates/x", "./metadata.yaml")},
		{"a container image with its files first", "lxd", tarball(t, "rootfs/x", "metadata.yaml")},
		{"a chroot", "chroot", tarball(t, "chroot-autobuild/x", "metadata.yaml")},
		{"something else", "chroot", tarball(t, "x/metadata.yaml")},
		{"no tarball", "chroot", []byte("the image")},
		{"nothing", "chroot", nil},
	}
	for compression, compress := range compressions {
		for _, tt := range contents {
			t.Run(tt.name+", "+compression, func(t *testing.T) {
				var out bytes.Buffer
				w := compress(&out)
				if _, err := w.Write(tt.data); err != nil {
					t.Fatal(err)
				}
				if err := w.Close(); err != nil {
					t.Fatal(err)
				}
				path := t.TempDir() + "/image"
				write(t, path, out.String())
				if got, err := imageTypeOf(path); err != nil || got != tt.want {
					t.Errorf("got %q, %v, want %q", got, err, tt.want)
				}
			})
		}
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
