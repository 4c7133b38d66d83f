// Package archive is run by root, inside the namespaces of a build: it reads
// compressed streams and unpacks tar archives of any common compression: gzip,
// bzip2, xz, Zstandard or none, recognised by content. Everything is streamed;
// memory is bounded by the windows of the formats.
package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Names of the formats that NewReader knows.
const (
	Gzip  = "gzip"
	Bzip2 = "bzip2"
	XZ    = "xz"
	Zstd  = "zstd"
	Tar   = "tar"
)

const (
	// readAhead is how much of the compressed file is read at a time.
	readAhead = 1 << 20
	// maxWindow is the largest Zstandard window accepted, that of zstd itself.
	maxWindow = 128 << 20
	tarBlock  = 512
)

// NewReader returns the decompressed content of r, of all its streams, and the
// name of its format; a plain tar is passed through. Behind the last stream
// zeros may follow, where the program of the format bears them. It is an error when r is none of the formats.
// The caller closes the result, which leaves r alone. Read errors of the
// result name the format. Ending ctx ends helper programs, not reads of r.
func NewReader(ctx context.Context, r io.Reader) (io.ReadCloser, string, error) {
	in := bufio.NewReaderSize(r, readAhead)
	head, err := in.Peek(tarBlock)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", fmt.Errorf("cannot read the archive: %w", err)
	}
	format, err := sniff(head)
	if err != nil {
		return nil, "", err
	}
	out := &reader{format: format, close: func() error { return nil }}
	switch format {
	case Gzip:
		out.r, err = newGzip(in)
	case Bzip2:
		out.r = newBzip2(in)
	case XZ:
		out.r, out.close, err = newXZ(ctx, in)
	case Zstd:
		out.r, out.close, err = newZstd(in)
	default:
		out.r = in
	}
	if err != nil {
		return nil, format, out.explain(err)
	}
	return out, format, nil
}

// sniff names the format that starts with head.
func sniff(head []byte) (string, error) {
	if len(head) == 0 {
		return "", errors.New("the file is empty")
	}
	for _, magic := range []struct{ bytes, format string }{
		{"\x1f\x8b", Gzip},
		{"BZh", Bzip2},
		{"\xfd7zXZ\x00", XZ},
		{"\x28\xb5\x2f\xfd", Zstd},
	} {
		if bytes.HasPrefix(head, []byte(magic.bytes)) {
			return magic.format, nil
		}
	}
	// Zstandard files may begin with a frame to skip.
	if len(head) > 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return Zstd, nil
	}
	if isTarHeader(head) {
		return Tar, nil
	}
	return "", errors.New("it is not an archive: neither tar nor gzip, bzip2, xz or zstd data")
}

// isTarHeader checks the checksum of the first header, as very old archives
// have no magic.
func isTarHeader(head []byte) bool {
	if len(head) < tarBlock {
		return false
	}
	field := strings.Trim(string(head[148:156]), " \x00")
	want, err := strconv.ParseInt(field, 8, 64)
	if err != nil {
		return false
	}
	sum := int64(8 * ' ')
	for i, b := range head[:tarBlock] {
		if i < 148 || i >= 156 {
			sum += int64(b)
		}
	}
	return sum == want
}

func newZstd(in io.Reader) (io.Reader, func() error, error) {
	// One goroutine less is faster here, since the consumer is the bottleneck.
	d, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, nil, err
	}
	return d, func() error { d.Close(); return nil }, nil
}

// reader adds the format to errors, and keeps WriteTo of what it reads from.
type reader struct {
	r      io.Reader
	format string
	close  func() error
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	return n, r.explain(err)
}

// WriteTo implements io.WriterTo. Errors of w are returned as a *WriteError.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	out := &marker{w: w}
	n, err := io.CopyBuffer(out, r.r, make([]byte, 256<<10))
	if out.err != nil {
		return n, &WriteError{Err: out.err}
	}
	return n, r.explain(err)
}

// Close ends helper programs.
func (r *reader) Close() error { return r.close() }

func (r *reader) explain(err error) error {
	switch {
	case err == nil || err == io.EOF: //nolint:errorlint // io.EOF is never wrapped by readers, and must not be here
		return err
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("its %s data is cut off: %w", r.format, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("its %s data cannot be read: %w", r.format, err)
}

// WriteError is an error of the destination, not of the archive.
type WriteError struct{ Err error }

// Error is the text of the cause.
func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// marker remembers that it was the destination that failed.
type marker struct {
	w   io.Writer
	err error
}

func (m *marker) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	if err != nil {
		m.err = err
	}
	return n, err
}
