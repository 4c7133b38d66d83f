package archive_test

import (
	"bytes"
	stdgzip "compress/gzip"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"

	"lpbuildd/backends/archive"
)

// fuzzMost is how much of an input's content is looked at: few bytes can stand for
// very many.
const fuzzMost = 1 << 20

// FuzzNewReader checks that any input ends in data or in an error, with the data
// that others read in it, and that what is packed comes back, or as an error if it
// is cut off. What is xz is left to the unit tests: it would start a program.
func FuzzNewReader(f *testing.F) {
	plain := makeTar(f, 100)
	for _, format := range []string{archive.Gzip, archive.Zstd, archive.Tar} {
		f.Add(compress(f, format, plain), uint16(20))
	}
	f.Add([]byte("BZh91AY&SY"), uint16(0))
	encoder, err := zstd.NewWriter(nil, zstd.WithZeroFrames(true), zstd.WithEncoderConcurrency(1))
	check(f, err)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		checkAny(t, data)
		for format, packed := range map[string][]byte{
			archive.Gzip: zip(t, data), archive.Zstd: encoder.EncodeAll(data, nil),
		} {
			if got, is, err := readAll(t, packed); err != nil || is != format || !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %s came back as %d of %s: %v", len(data), format, len(got), is, err)
			}
			if _, _, err := readAll(t, packed[:int(cut)%len(packed)]); err == nil {
				t.Errorf("%s of %d bytes, cut off after %d, is no error", format, len(packed), int(cut)%len(packed))
			}
		}
	})
}

// checkAny reads what may be anything.
func checkAny(t *testing.T, data []byte) {
	t.Helper()
	if bytes.HasPrefix(data, []byte("\xfd7zXZ\x00")) {
		return
	}
	got, format, err := readAll(t, data)
	switch format {
	case archive.Tar:
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("plain data changed: %v", err)
		}
	case archive.Gzip:
		want, wantErr := readGzip(data)
		common := min(len(got), len(want))
		if wantErr == nil && (err != nil || len(got) != len(want)) || !bytes.Equal(got[:common], want[:common]) {
			t.Errorf("got %d bytes, %v; compress/gzip reads %d, %v", len(got), err, len(want), wantErr)
		}
	}
}

// readAll reads the content of an archive.
func readAll(t *testing.T, data []byte) ([]byte, string, error) {
	t.Helper()
	r, format, err := archive.NewReader(t.Context(), bytes.NewReader(data))
	if err != nil {
		return nil, format, err
	}
	got, err := io.ReadAll(io.LimitReader(r, fuzzMost))
	return got, format, errors.Join(err, r.Close())
}

// readGzip reads the content of gzip data by Go's own library.
func readGzip(data []byte) ([]byte, error) {
	r, err := stdgzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, fuzzMost))
}

// zip makes gzip data by Go's own library.
func zip(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := stdgzip.NewWriterLevel(&b, stdgzip.BestSpeed)
	check(t, err)
	_, err = w.Write(data)
	check(t, errors.Join(err, w.Close()))
	return b.Bytes()
}
