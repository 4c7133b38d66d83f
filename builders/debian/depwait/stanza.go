package depwait

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLine limits a line of a wanted field; other lines may be longer.
	maxLine = 4 << 20
	// maxValue limits a wanted field with all its continuation lines.
	maxValue = 16 << 20
)

// readStanzas calls each for every stanza of control data with the values of
// the wanted fields, in the order of wanted; a missing field is empty. The
// lines of a folded field are joined with a blank. Field names match whatever
// their case; the last of several fields of one name counts. Lines that are no
// field are ignored. The values are only valid during the call.
func readStanzas(r io.Reader, wanted []string, each func(values [][]byte) error) error {
	s := stanza{wanted: wanted, values: make([][]byte, len(wanted)), current: -1}
	lines := lineReader{r: bufio.NewReaderSize(r, maxLine)}
	for {
		line, err := lines.next()
		ended := errors.Is(err, io.EOF)
		if err != nil && !ended {
			return err
		}
		if s.add(line) && (lines.cut || len(s.values[s.current]) > maxValue) {
			return fmt.Errorf("the field %s is longer than %d bytes, or than %d on one line", wanted[s.current], maxValue, maxLine)
		}
		if s.ended || ended {
			if err := s.flush(each); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

// lineReader reads lines, of long ones only the start.
type lineReader struct {
	r   *bufio.Reader
	cut bool // the last line was longer than what next returned
}

// next returns a line, valid until the next call; the last one may come with
// io.EOF.
func (l *lineReader) next() ([]byte, error) {
	for l.cut {
		_, err := l.r.ReadSlice('\n')
		l.cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !l.cut {
			return nil, err
		}
	}
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.cut = true
		return line, nil
	}
	return line, err
}

// stanza collects the wanted fields of one stanza, line by line.
type stanza struct {
	wanted  []string
	values  [][]byte
	current int  // the wanted field that a continuation line belongs to; -1 none
	filled  bool // there was at least one field, wanted or not
	ended   bool // the last line was blank
}

// flush hands a stanza over, unless it is empty, and starts the next one.
func (s *stanza) flush(each func(values [][]byte) error) error {
	if s.filled {
		if err := each(s.values); err != nil {
			return err
		}
	}
	for i := range s.values {
		s.values[i] = s.values[i][:0]
	}
	s.current, s.filled, s.ended = -1, false, false
	return nil
}

// add takes the next line and says whether it went into s.values[s.current].
func (s *stanza) add(line []byte) bool {
	switch {
	case len(line) == 0:
		return false
	case line[0] == '#':
		return false
	case line[0] == ' ', line[0] == '\t', line[0] == '\n', line[0] == '\r':
		return s.fold(bytes.TrimSpace(line))
	}
	s.ended, s.filled = false, true
	s.current = s.field(line)
	if s.current < 0 {
		return false
	}
	value := bytes.TrimSpace(line[len(s.wanted[s.current])+1:])
	s.values[s.current] = append(s.values[s.current][:0], value...)
	return true
}

// fold takes a continuation line; an empty one ends the stanza.
func (s *stanza) fold(text []byte) bool {
	if s.ended = len(text) == 0; s.ended {
		s.current = -1
	}
	if s.current < 0 {
		return false
	}
	value := append(s.values[s.current], ' ')
	s.values[s.current] = append(value, text...)
	return true
}

// field returns which wanted field the line starts, -1 if none.
func (s *stanza) field(line []byte) int {
	for i, name := range s.wanted {
		if len(line) > len(name) && line[len(name)] == ':' &&
			bytes.EqualFold(line[:len(name)], []byte(name)) {
			return i
		}
	}
	return -1
}
