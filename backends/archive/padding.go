package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// errGarbage is for what might be data that nobody unpacks.
var errGarbage = errors.New("garbage follows its end")

// padding reads what follows the last stream, up to the end of the file. Tapes,
// dd and some stores fill up a block with zeros, which is no error; the result
// is io.EOF then.
func padding(in *bufio.Reader) error {
	for {
		b, err := in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return errGarbage
		}
	}
}

// gzipReader reads the members of a gzip file as gzip itself does: zeros may
// follow the last one.
type gzipReader struct {
	in     *bufio.Reader
	member *gzip.Reader
}

func newGzip(in *bufio.Reader) (io.Reader, error) {
	member, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	member.Multistream(false)
	return &gzipReader{in: in, member: member}, nil
}

// next goes on with the next member; io.EOF says that there is none.
func (g *gzipReader) next() error {
	magic, _ := g.in.Peek(2) // an error comes again
	if !bytes.Equal(magic, []byte("\x1f\x8b")) {
		return padding(g.in)
	}
	err := g.member.Reset(g.in)
	g.member.Multistream(false)
	return err
}

// Read implements io.Reader.
func (g *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := g.member.Read(p)
		if errors.Is(err, io.EOF) {
			err = g.next()
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// WriteTo implements io.WriterTo, which spares a copy.
func (g *gzipReader) WriteTo(w io.Writer) (total int64, err error) {
	for err == nil {
		var n int64
		n, err = g.member.WriteTo(w)
		total += n
		if err == nil {
			err = g.next()
		}
	}
	if errors.Is(err, io.EOF) {
		return total, nil
	}
	return total, err
}

// bzip2Reader reads all streams of a bzip2 file, and the zeros behind them, which
// the library takes for a stream with a wrong beginning.
type bzip2Reader struct {
	in      *lastBytes
	streams io.Reader
}

func newBzip2(in *bufio.Reader) io.Reader {
	last := &lastBytes{Reader: in}
	return &bzip2Reader{in: last, streams: bzip2.NewReader(last)}
}

// Read implements io.Reader.
func (b *bzip2Reader) Read(p []byte) (int, error) {
	n, err := b.streams.Read(p)
	if errors.Is(err, bzip2.StructuralError("bad magic value in continuation file")) {
		err = errGarbage
		if b.in.last == [2]byte{} {
			err = padding(b.in.Reader)
		}
	}
	return n, err
}

// lastBytes remembers the last two bytes that were read, as long as the magic
// number of a bzip2 file.
type lastBytes struct {
	*bufio.Reader
	last [2]byte
}

// ReadByte implements io.ByteReader.
func (l *lastBytes) ReadByte() (byte, error) {
	b, err := l.Reader.ReadByte()
	l.last = [2]byte{l.last[1], b}
	return b, err
}
