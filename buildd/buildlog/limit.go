package buildlog

import (
	"fmt"
	"io"
)

// limited passes bytes on up to a limit, then says so once and drops the rest.
type limited struct {
	dst   io.Writer
	limit int64 // 0: none
	size  int64 // of what counts towards the limit
	// full says that the limit was reached; it stays.
	full bool
	// lifted lets everything pass for the moment, uncounted.
	lifted bool
	// midLine says that the last byte written did not end a line.
	midLine bool
}

func (w *limited) Write(p []byte) (int, error) {
	if w.limit == 0 || w.lifted || !w.full && int64(len(p)) <= w.limit-w.size {
		return w.pass(p)
	}
	if w.full {
		return len(p), nil
	}
	w.full = true
	if n, err := w.pass(p[:w.limit-w.size]); err != nil {
		return n, err
	}
	notice := fmt.Sprintf("The log has reached its limit of %d bytes; what follows is left out.\n", w.limit)
	if w.midLine {
		notice = "\n" + notice
	}
	if _, err := w.pass([]byte(notice)); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *limited) pass(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := w.dst.Write(p)
	if !w.lifted {
		w.size += int64(n)
	}
	if n > 0 {
		w.midLine = p[n-1] != '\n'
	}
	return n, err
}
