package incus

import (
	"bytes"
	"io"
	"strconv"
	"sync"
)

// stream passes on the output of a command up to a marker, which our shell
// writes when the command has ended, with its exit code. Processes that the
// command left behind may hold its output for ever; nobody waits for those.
//
// A command cannot guess the marker. One that reads it from its parent can at
// most end its own output, and lie about its own exit code.
type stream struct {
	dst    io.Writer
	marker []byte
	// ended is closed after the marker, or when dst failed.
	ended chan struct{}

	mu   sync.Mutex // guards the fields below
	held []byte     // what may become the marker
	over bool
	code int
	err  error
}

func newStream(dst io.Writer, nonce string) *stream {
	if dst == nil {
		dst = io.Discard
	}
	return &stream{dst: dst, marker: []byte(nonce + " "), ended: make(chan struct{})}
}

const (
	maxExitCode = 16  // more digits than one has
	notOurs     = 255 // the exit code when what follows the marker is no number
)

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return len(p), s.err
	}
	data := p
	if len(s.held) > 0 {
		data = append(s.held, p...)
		s.held = nil
	}
	pass := len(data)
	if at := bytes.Index(data, s.marker); at >= 0 {
		pass = at
		line, _, whole := bytes.Cut(data[at+len(s.marker):], []byte("\n"))
		if whole || len(line) > maxExitCode {
			// Our shell writes a number; it is no success if somebody else did not.
			code, err := strconv.Atoi(string(line))
			if err != nil {
				code = notOurs
			}
			s.code, s.over = code, true
		}
	} else {
		pass -= overlap(data, s.marker)
	}
	if _, err := s.dst.Write(data[:pass]); pass > 0 && err != nil {
		s.err, s.over = err, true
	}
	if s.over {
		close(s.ended)
		return len(p), s.err
	}
	s.held = bytes.Clone(data[pass:])
	return len(p), nil
}

// overlap is the length of the longest end of data that begins the marker.
func overlap(data, marker []byte) int {
	for n := min(len(data), len(marker)-1); n > 0; n-- {
		if bytes.HasSuffix(data, marker[:n]) {
			return n
		}
	}
	return 0
}

// finish passes on what is held back, when no marker will come.
func (s *stream) finish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over && len(s.held) > 0 {
		_, s.err = s.dst.Write(s.held)
		s.held = nil
	}
	s.over = true
	return s.err
}

// result is the exit code, if the marker came.
func (s *stream) result() (code int, marked bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code, s.over && s.err == nil, s.err
}
