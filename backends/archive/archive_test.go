package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"lpbuildd/backends"
	"lpbuildd/backends/archive"
	"lpbuildd/buildd/verdict"
)

// testSize is more than a pipe holds.
const testSize = 1<<20 + 1<<19

// makeTar is a plain tar of a folder and a file of size bytes.
func makeTar(tb testing.TB, size int) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	for _, h := range []*tar.Header{
		{Name: "top/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "top/file", Size: int64(size), Mode: 0o640, Uid: os.Getuid(), Gid: os.Getgid()},
	} {
		check(tb, w.WriteHeader(h))
		if h.Size > 0 {
			_, err := w.Write(data)
			check(tb, err)
		}
	}
	check(tb, w.Close())
	return b.Bytes()
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// compress makes data of each format.
func compress(tb testing.TB, format string, data []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case archive.Gzip:
		w = gzip.NewWriter(&b)
	case archive.Zstd:
		w, err = zstd.NewWriter(&b)
	case archive.Bzip2, archive.XZ:
		cmd := backends.Command{Argv: []string{format, "-c"}, Stdin: bytes.NewReader(data), Stdout: &b}
		if _, err := (backends.Host{}).LookPath(format); err != nil {
			tb.Skipf("needs %s to make a test archive", format)
		}
		check(tb, backends.Host{}.Run(tb.Context(), cmd))
		return b.Bytes()
	default:
		return data
	}
	check(tb, err)
	_, err = w.Write(data)
	check(tb, err)
	check(tb, w.Close())
	return b.Bytes()
}

func formats() []string {
	return []string{archive.Gzip, archive.Bzip2, archive.XZ, archive.Zstd, archive.Tar}
}

func TestReaderKnowsEveryFormat(t *testing.T) {
	plain := makeTar(t, testSize)
	for _, format := range formats() {
		t.Run(format, func(t *testing.T) {
			r, got, err := archive.NewReader(t.Context(), bytes.NewReader(compress(t, format, plain)))
			check(t, err)
			data, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || got != format || !bytes.Equal(data, plain) {
				t.Errorf("got %s, %d bytes, %v", got, len(data), err)
			}
		})
	}
}

// A file of several streams is their contents one after the other, and zeros
// may fill up its last block, where the programs of the formats bear both.
func TestReaderReadsToTheEndOfTheFile(t *testing.T) {
	plain := makeTar(t, 100_000)
	zeros := func(n int) []byte { return make([]byte, n) }
	skipped := []byte("\x50\x2a\x4d\x18\x03\x00\x00\x00abc") // a frame of zstd that has no data
	type pieces = func(a, b []byte) [][]byte
	for name, c := range map[string]struct {
		formats []string
		pieces  pieces
	}{
		"two streams":             {[]string{archive.Gzip, archive.Bzip2, archive.XZ, archive.Zstd}, func(a, b []byte) [][]byte { return [][]byte{a, b} }},
		"a block of zeros":        {[]string{archive.Gzip, archive.Bzip2, archive.XZ, archive.Tar}, func(a, b []byte) [][]byte { return [][]byte{a, b, zeros(10240)} }},
		"many zeros":              {[]string{archive.Gzip, archive.Bzip2, archive.XZ}, func(a, b []byte) [][]byte { return [][]byte{a, b, zeros(3 << 20)} }},
		"four zeros":              {[]string{archive.Gzip, archive.Bzip2, archive.XZ}, func(a, b []byte) [][]byte { return [][]byte{a, b, zeros(4)} }},
		"one zero":                {[]string{archive.Gzip}, func(a, b []byte) [][]byte { return [][]byte{a, b, zeros(1)} }},
		"zeros between streams":   {[]string{archive.XZ}, func(a, b []byte) [][]byte { return [][]byte{a, zeros(4), b} }},
		"frames without any data": {[]string{archive.Zstd}, func(a, b []byte) [][]byte { return [][]byte{skipped, a, skipped, b, skipped} }},
	} {
		for _, format := range c.formats {
			t.Run(name+" "+format, func(t *testing.T) {
				half := len(plain) / 2
				data := slices.Concat(c.pieces(compress(t, format, plain[:half]), compress(t, format, plain[half:]))...)
				r, _, err := archive.NewReader(t.Context(), bytes.NewReader(data))
				check(t, err)
				got, err := io.ReadAll(struct{ io.Reader }{r})
				if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(bytes.TrimRight(got, "\x00"), bytes.TrimRight(plain, "\x00")) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				check(t, archive.Unpack(t.Context(), write(t, data), t.TempDir()))
			})
		}
	}
}

func TestReaderTakesNoGarbageForTheEnd(t *testing.T) {
	plain := makeTar(t, 100_000)
	for name, rest := range map[string]string{
		"text": "garbage", "a byte": "x", "text behind zeros": "\x00\x00\x00\x00garbage", "half a magic number": "\x1f",
		"a stream behind zeros": "\x00\x00\x00\x00\x00" + string(compress(t, archive.Gzip, plain)), "a cut stream": string(compress(t, archive.Gzip, plain)[:99]),
		"zeros and text far away": strings.Repeat("\x00", 2<<20) + "garbage",
	} {
		for _, format := range []string{archive.Gzip, archive.Bzip2, archive.XZ, archive.Zstd} {
			t.Run(name+" behind "+format, func(t *testing.T) {
				data := append(compress(t, format, plain), rest...)
				r, _, err := archive.NewReader(t.Context(), bytes.NewReader(data))
				check(t, err)
				_, err = io.Copy(io.Discard, r)
				if closed := r.Close(); err == nil || closed != nil || !strings.Contains(err.Error(), "its "+format+" data") {
					t.Errorf("got %v, %v", err, closed)
				}
				if err := archive.Unpack(t.Context(), write(t, data), t.TempDir()); err == nil {
					t.Error("it was unpacked without an error")
				}
			})
		}
	}
}

func TestReaderCanBeClosedEarly(t *testing.T) {
	plain := makeTar(t, testSize)
	for _, format := range formats() {
		t.Run(format, func(t *testing.T) {
			r, _, err := archive.NewReader(t.Context(), bytes.NewReader(compress(t, format, plain)))
			check(t, err)
			_, err = io.ReadFull(r, make([]byte, 100))
			check(t, errors.Join(err, r.Close()))
		})
	}
}

// write puts data into a file of the test's folder.
func write(tb testing.TB, data []byte) string {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "image")
	check(tb, os.WriteFile(name, data, 0o600))
	return name
}

func TestUnpack(t *testing.T) {
	plain := makeTar(t, testSize)
	for _, format := range formats() {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			check(t, archive.Unpack(t.Context(), write(t, compress(t, format, plain)), dir))
			st, err := os.Stat(filepath.Join(dir, "top", "file"))
			check(t, err)
			if st.Size() != testSize || st.Mode() != 0o640 {
				t.Errorf("got %v, %d bytes", st.Mode(), st.Size())
			}
		})
	}
}

func TestUnpackNamesWhatIsWrong(t *testing.T) {
	plain := makeTar(t, testSize)
	whole := map[string][]byte{}
	for _, format := range formats() {
		whole[format] = compress(t, format, plain)
	}
	cut := func(format string) []byte { return whole[format][:len(whole[format])/2] }
	flip := func(format string) []byte {
		data := slices.Clone(whole[format])
		data[len(data)/2] ^= 0xff
		data[len(data)/2+1] ^= 0xff
		return data
	}
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                {nil, "the file is empty"},
		"no archive":           {bytes.Repeat([]byte("this is not an archive\n"), 99), "it is not an archive"},
		"short":                {[]byte("x"), "it is not an archive"},
		"gzip of text":         {compress(t, archive.Gzip, bytes.Repeat([]byte("text\n"), 999)), "tar: This does not look like a tar archive"},
		"gzip header only":     {[]byte("\x1f\x8b"), "its gzip data is cut off"},
		"truncated gzip":       {cut(archive.Gzip), "its gzip data is cut off"},
		"truncated bzip2":      {cut(archive.Bzip2), "its bzip2 data is cut off"},
		"truncated xz":         {cut(archive.XZ), "its xz data cannot be read"},
		"truncated zstd":       {cut(archive.Zstd), "its zstd data is cut off"},
		"truncated tar":        {plain[:len(plain)/2], "tar: "},
		"corrupt gzip":         {flip(archive.Gzip), "its gzip data cannot be read"},
		"corrupt xz":           {flip(archive.XZ), "its xz data cannot be read"},
		"garbage after a gzip": {slices.Concat(whole[archive.Gzip], []byte("garbage garbage")), "its gzip data"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, tt.data)
			err := archive.Unpack(t.Context(), path, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %q and the name", err, tt.want)
			}
			var fault *verdict.HostFault
			if errors.As(err, &fault) {
				t.Errorf("the host is blamed: %v", err)
			}
		})
	}
}

func TestUnpackIntoAMissingFolder(t *testing.T) {
	path := write(t, compress(t, archive.Gzip, makeTar(t, testSize)))
	if err := archive.Unpack(t.Context(), path, filepath.Join(t.TempDir(), "no")); err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("got %v", err)
	}
	if err := archive.Unpack(t.Context(), path+"x", t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing image: got %v", err)
	}
}

func TestUnpackStopsWithItsContext(t *testing.T) {
	for _, format := range []string{archive.Gzip, archive.XZ} {
		path := write(t, compress(t, format, makeTar(t, testSize)))
		ctx, cancel := context.WithCancelCause(t.Context())
		want := errors.New("enough")
		cancel(want)
		if err := archive.Unpack(ctx, path, t.TempDir()); !errors.Is(err, want) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}
