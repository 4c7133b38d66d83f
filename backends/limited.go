package backends

import (
	"fmt"
	"io"
)

// Limited reads from r. Where io.LimitReader ends in silence, it fails: what is
// longer than limit bytes must not pass for a whole file.
func Limited(r io.Reader, limit int64) io.Reader { return &limited{r: r, limit: limit, left: limit} }

type limited struct {
	r           io.Reader
	limit, left int64 // left is -1 once there was too much
}

// Read implements io.Reader. It asks for a byte more than it may return, to
// see whether there is too much.
func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, l.overrun()
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	if int64(n) > l.left {
		n, l.left = int(l.left), -1
		return n, l.overrun()
	}
	l.left -= int64(n)
	return n, err
}

func (l *limited) overrun() error { return fmt.Errorf("it is larger than %d bytes", l.limit) }

// ReadAll returns the content of r. More than limit bytes are an error.
func ReadAll(r io.Reader, limit int64) ([]byte, error) { return io.ReadAll(Limited(r, limit)) }
