package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"

	"lpbuildd/backends"
	"lpbuildd/backends/archive"
)

// bigImage writes a .tar.gz of about 110 MB in 12,000 files, which compresses
// about as well as a base image does.
func bigImage(b *testing.B) string {
	b.Helper()
	name := filepath.Join(b.TempDir(), "image.tar.gz")
	f, err := os.Create(name)
	check(b, err)
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	check(b, err)
	w := tar.NewWriter(z)
	random := rand.NewChaCha8([32]byte{})
	var noise [8 << 10]byte
	for i := range 12000 {
		if i%100 == 0 {
			check(b, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("top/%d/", i/100), Typeflag: tar.TypeDir, Mode: 0o755}))
		}
		_, _ = random.Read(noise[:])
		data := bytes.Join([][]byte{noise[:], bytes.Repeat([]byte("some words of a text that compresses well "), 650)}, nil)
		check(b, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("top/%d/%d", i/100, i), Mode: 0o644, Size: int64(len(data))}))
		_, err := w.Write(data)
		check(b, err)
	}
	check(b, errors.Join(w.Close(), z.Close(), f.Close()))
	return name
}

// BenchmarkUnpack compares with GNU tar and gzip, the aim being "not slower".
// Another image can be given by the variable BENCH_IMAGE.
func BenchmarkUnpack(b *testing.B) {
	path := os.Getenv("BENCH_IMAGE")
	if path == "" {
		path = bigImage(b)
	}
	st, err := os.Stat(path)
	check(b, err)
	run := func(name string, unpack func(dir string) error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(st.Size())
			b.ReportAllocs()
			top := b.TempDir()
			for b.Loop() {
				dir := filepath.Join(top, "root")
				check(b, os.Mkdir(dir, 0o750))
				check(b, unpack(dir))
				b.StopTimer()
				check(b, os.RemoveAll(dir))
				b.StartTimer()
			}
		})
	}
	run("ours", func(dir string) error { return archive.Unpack(b.Context(), path, dir) })
	run("tar -xzf", func(dir string) error {
		return backends.Host{}.Run(b.Context(), backends.Command{Argv: []string{"tar", "-C", dir, "-xzf", path}})
	})
}
