package xmlrpc

import (
	"bytes"
	"errors"
	"fmt"
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

func newScanner(doc []byte) (*scanner, error) {
	src, err := toUTF8(doc)
	if err != nil {
		return nil, &SyntaxError{Reason: err.Error(), Line: 1, Column: 1}
	}
	s := &scanner{src: src, open: make([]span, 0, 12)}
	if bytes.HasPrefix(src, []byte("<?xml")) {
		return s, s.instruction()
	}
	return s, nil
}

// next returns the character data up to the next tag, and which kind of tag
// that is. The text may be a part of the document: do not change or keep it.
func (s *scanner) next() ([]byte, tag, error) {
	if s.emptied {
		s.emptied = false
		return nil, endTag, s.pop(s.open[len(s.open)-1])
	}
	var text []byte
	for {
		i := bytes.IndexByte(s.src[s.pos:], '<')
		if i < 0 {
			return s.end(text)
		}
		var err error
		if text, err = s.add(text, s.pos, s.pos+i); err != nil {
			return nil, endOfDocument, err
		}
		s.pos += i
		switch s.at(1) {
		case '/':
			return text, endTag, s.closeElement()
		case '?':
			err = s.laterInstruction()
		case '!':
			text, err = s.declaration(text)
		default:
			return text, startTag, s.openElement()
		}
		if err != nil {
			return nil, endOfDocument, err
		}
	}
}

// at is the byte that many places ahead, 0 beyond the end.
func (s *scanner) at(ahead int) byte {
	if s.pos+ahead >= len(s.src) {
		return 0
	}
	return s.src[s.pos+ahead]
}

// end checks what is left when there are no more tags.
func (s *scanner) end(text []byte) ([]byte, tag, error) {
	rest := s.src[s.pos:]
	switch {
	case s.elements == 0 && !blank(rest):
		return nil, endOfDocument, s.fail(s.pos, "not XML")
	case s.elements == 0:
		return nil, endOfDocument, s.fail(len(s.src), "no element found")
	case len(s.open) > 0:
		last := s.open[len(s.open)-1]
		return nil, endOfDocument, s.fail(len(s.src), fmt.Sprintf("the document ends inside <%s>", clip(s.src[last.from:last.to])))
	case !blank(rest):
		return nil, endOfDocument, s.fail(s.pos, "junk after document element")
	}
	s.pos = len(s.src)
	return text, endOfDocument, nil
}

// add appends a piece of character data to what was there before it.
func (s *scanner) add(text []byte, from, to int) ([]byte, error) {
	piece := s.src[from:to:to]
	switch {
	case len(piece) == 0:
		return text, nil
	case !plain(piece):
		return s.appendText(text, from, to, false)
	case text == nil:
		return piece, nil
	}
	return append(text, piece...), nil
}

// declaration reads what starts with "<!": a comment or a CDATA section.
func (s *scanner) declaration(text []byte) ([]byte, error) {
	rest := s.src[s.pos:]
	if comment, ok := bytes.CutPrefix(rest, []byte("<!--")); ok {
		i := bytes.Index(comment, []byte("--"))
		if i < 0 || len(comment) < i+3 || comment[i+2] != '>' {
			return nil, s.fail(s.pos, "not well-formed (bad comment)")
		}
		s.pos += len("<!--") + i + len("-->")
		return text, nil
	}
	if section, ok := bytes.CutPrefix(rest, []byte("<![CDATA[")); ok && len(s.open) > 0 {
		i := bytes.Index(section, []byte("]]>"))
		if i < 0 {
			return nil, s.fail(s.pos, "unclosed CDATA section")
		}
		from := s.pos + len("<![CDATA[")
		s.pos = from + i + len("]]>")
		return s.appendText(text, from, from+i, true)
	}
	return nil, s.fail(s.pos, "document type declarations are not allowed")
}

// laterInstruction skips a processing instruction that is no XML declaration.
func (s *scanner) laterInstruction() error {
	if target := s.src[s.pos+2:]; len(target) > 3 && bytes.EqualFold(target[:3], []byte("xml")) && isSpace(target[3]) {
		return s.fail(s.pos, "XML declaration not at start of document")
	}
	return s.instruction()
}

func (s *scanner) instruction() error {
	i := bytes.Index(s.src[s.pos:], []byte("?>"))
	if i < 0 {
		return s.fail(s.pos, "unclosed processing instruction")
	}
	s.pos += i + len("?>")
	return nil
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
