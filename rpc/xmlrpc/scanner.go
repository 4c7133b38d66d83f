package xmlrpc

import (
	"bytes"
	"errors"
)

// tag is what the scanner stops at.
type tag uint8

const (
	endOfDocument tag = iota
	startTag
	endTag
)

// span is a part of the document.
type span struct{ from, to int }

// scanner reads the XML of one document: it checks that tags match and that
// characters are legal, and leaves the meaning of elements to the decoder.
type scanner struct {
	src      []byte
	pos      int
	open     []span // the names of the open elements, with prefixes
	elements int
	name     []byte // the last tag's name without prefix
	emptied  bool   // the last tag was <x/>: its end comes next
}

// at is the byte that many places ahead, 0 beyond the end.
func (s *scanner) at(ahead int) byte {
	if s.pos+ahead >= len(s.src) {
		return 0
	}
	return s.src[s.pos+ahead]
}

// fail makes the error for a place in the document.
func (s *scanner) fail(pos int, reason string) error {
	before := s.src[:min(pos, len(s.src))]
	return &SyntaxError{
		Reason: reason,
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
	}
}

// wrap gives an error that has no place the current one.
func (s *scanner) wrap(err error) error {
	var placed *SyntaxError
	if err == nil || errors.As(err, &placed) {
		return err
	}
	return s.fail(s.pos, err.Error())
}

func blank(text []byte) bool {
	for _, c := range text {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// clip shortens a stranger's text for use in a message.
func clip(text []byte) string {
	const longest = 60
	if len(text) > longest {
		return string(bytes.ToValidUTF8(text[:longest], nil)) + "..."
	}
	return string(text)
}
