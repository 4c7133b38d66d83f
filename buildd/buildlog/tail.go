package buildlog

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// tailSize is how much of the log status shows (spec: protocol.md section 12).
const tailSize = 2048

// Tailer reads what status shows of a log that grows (spec: protocol.md
// section 12): the last 2048 bytes; of a private log without their first line
// and with lines joined by \n. It keeps the file open and the last answer at
// hand, so that a poll of a log that did not grow is one system call. Its
// methods are safe for concurrent use.
type Tailer struct {
	path    string
	private bool

	mu   sync.Mutex
	file *os.File // nil while there is none; guarded by mu
	size int64    // size of the file that tail was read at; guarded by mu
	tail []byte   // guarded by mu; the bytes never change
}

// NewTailer reads the log at path, which need not exist yet.
func NewTailer(path string, private bool) *Tailer {
	return &Tailer{path: path, private: private}
}

// Tail is the tail of the log as it is now, shared by all callers and not to
// be changed. It is empty and not nil when there is no log.
func (t *Tailer) Tail() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	size, ok := t.stat()
	if !ok {
		return []byte{}
	}
	if t.tail != nil && size == t.size {
		return t.tail
	}
	tail, err := readTail(t.file, tailSize)
	if err != nil {
		return []byte{}
	}
	if t.private {
		tail = withoutFirstLine(tail)
	}
	t.tail, t.size = tail, size
	return tail
}

// stat is the size of the log, which it opens anew if it was replaced.
func (t *Tailer) stat() (int64, bool) {
	var st unix.Stat_t
	if t.file != nil {
		if err := unix.Fstat(int(t.file.Fd()), &st); err == nil && st.Nlink > 0 {
			return st.Size, true
		}
		t.drop()
	}
	file, err := os.OpenFile(t.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, false
	}
	t.file = file
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.drop()
		return 0, false
	}
	return st.Size, true
}

// Close lets go of the file. A later Tail opens it again.
func (t *Tailer) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop()
}

func (t *Tailer) drop() {
	if t.file != nil {
		// Nothing was written to it, so closing cannot lose anything.
		_ = t.file.Close()
	}
	t.file, t.tail, t.size = nil, nil, 0
}

// readTail is at most the last n bytes of the file.
func readTail(f *os.File, n int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n = max(0, min(n, info.Size()))
	tail := make([]byte, n)
	got, err := f.ReadAt(tail, info.Size()-n)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return tail[:got], err
}

// withoutFirstLine drops the first line, which may have lost its beginning and
// with it what marks a credential, and joins the others by \n. Lines end at
// \n, \r\n or \r. It works in place.
func withoutFirstLine(b []byte) []byte {
	_, b = cutLine(b)
	rest, out := b, b[:0]
	for first := true; len(rest) > 0; first = false {
		var line []byte
		line, rest = cutLine(rest)
		if !first {
			out = append(out, '\n')
		}
		out = append(out, line...)
	}
	return out
}

func cutLine(b []byte) (line, rest []byte) {
	i := bytes.IndexAny(b, "\r\n")
	if i < 0 {
		return b, b[len(b):]
	}
	if b[i] == '\r' && i+1 < len(b) && b[i+1] == '\n' {
		return b[:i], b[i+2:]
	}
	return b[:i], b[i+1:]
}
