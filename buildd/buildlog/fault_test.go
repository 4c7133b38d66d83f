package buildlog

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// disk is full after so many bytes.
type disk struct {
	room int
	bytes.Buffer
}

func (d *disk) Write(p []byte) (int, error) {
	if len(p) > d.room {
		n, _ := d.Buffer.Write(p[:d.room])
		d.room = 0
		return n, unix.ENOSPC
	}
	d.room -= len(p)
	return d.Buffer.Write(p)
}

func TestFullDiskIsReportedAndStays(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int64
		room  int
	}{
		{"in the text", 0, 5},
		{"in the text up to the limit", 6, 5},
		{"in the notice of the limit", 6, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &disk{room: c.room}
			l := newLog(d, Options{Limit: c.limit})
			if _, err := io.WriteString(l, "1234"); err != nil || l.Err() != nil {
				t.Fatal(err, l.Err())
			}
			n, err := io.WriteString(l, "567890")
			if n != 0 || !errors.Is(err, unix.ENOSPC) || !errors.Is(l.Err(), unix.ENOSPC) {
				t.Errorf("Write = %d, %v; Err = %v", n, err, l.Err())
			}
			d.room = 1000
			if _, err := io.WriteString(l, "x"); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("a later write gives %v", err)
			}
			if got := d.Len(); got != c.room {
				t.Errorf("%d bytes are written, want %d", got, c.room)
			}
		})
	}
}
