package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends/archive"
)

// tarOf is a tar with these members.
func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(name, "/") {
			kind = tar.TypeDir
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Typeflag: kind}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestImageType(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(tarOf(t, "./chroot-autobuild/")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"a chroot":              {tarOf(t, "chroot-autobuild/", "metadata.yaml"), "chroot"},
		"a packed chroot":       {packed.Bytes(), "chroot"},
		"a container image":     {tarOf(t, "metadata.yaml", "templates/x", "rootfs/"), "lxd"},
		"a source package":      {tarOf(t, "hello-1.0/", "hello-1.0/rootfs/x"), ""},
		"a packed file cut off": {packed.Bytes()[:20], ""},
		"text":                  {[]byte("Format: 1.0\n"), ""},
		"nothing":               {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := archive.ImageType(t.Context(), path); got != tt.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
	if _, err := archive.ImageType(t.Context(), "/nonexistent"); err == nil {
		t.Error("a missing file has a type")
	}
}
