package xmlrpc

import (
	"bytes"
	"fmt"
)

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
