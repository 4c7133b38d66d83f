package xmlrpc

import (
	"bytes"
	"unicode/utf8"
)

// openElement reads a start tag, or an empty-element tag.
func (s *scanner) openElement() error {
	start := s.pos
	if len(s.open) == 0 && s.elements > 0 {
		return s.fail(start, "junk after document element")
	}
	if s.elements++; s.elements > MaxElements {
		return s.fail(start, "too many elements")
	}
	name, ok := s.readName(start + 1)
	if !ok {
		return s.fail(start, "not well-formed (bad tag)")
	}
	s.pos = name.to
	s.open = append(s.open, name)
	s.name = local(s.src[name.from:name.to])
	return s.attributes(start)
}

// attributes skips the attributes, none of which mean anything in XML-RPC,
// and the end of the tag.
func (s *scanner) attributes(start int) error {
	for {
		spaced := s.skipSpace()
		switch s.at(0) {
		case '>':
			s.pos++
			return nil
		case '/':
			if s.at(1) != '>' {
				return s.fail(start, "not well-formed (bad tag)")
			}
			s.pos += 2
			s.emptied = true
			return nil
		}
		if !spaced || !s.attribute() {
			return s.fail(start, "not well-formed (bad tag)")
		}
	}
}

// attribute skips name="value".
func (s *scanner) attribute() bool {
	name, ok := s.readName(s.pos)
	if !ok {
		return false
	}
	s.pos = name.to
	s.skipSpace()
	if s.at(0) != '=' {
		return false
	}
	s.pos++
	s.skipSpace()
	quote := s.at(0)
	if quote != '"' && quote != '\'' {
		return false
	}
	from := s.pos + 1
	i := bytes.IndexByte(s.src[from:], quote)
	if i < 0 || bytes.IndexByte(s.src[from:from+i], '<') >= 0 {
		return false
	}
	s.pos = from + i + 1
	_, err := s.add(nil, from, from+i)
	return err == nil
}

// closeElement reads an end tag.
func (s *scanner) closeElement() error {
	start := s.pos
	name, ok := s.readName(start + 2)
	if !ok {
		return s.fail(start, "not well-formed (bad tag)")
	}
	s.pos = name.to
	s.skipSpace()
	if s.at(0) != '>' {
		return s.fail(start, "not well-formed (bad tag)")
	}
	s.pos++
	if err := s.pop(name); err != nil {
		return s.fail(start, "mismatched tag")
	}
	return nil
}

// pop ends the innermost element, which must have that name.
func (s *scanner) pop(name span) error {
	got := s.src[name.from:name.to]
	if len(s.open) == 0 {
		return s.fail(name.from, "mismatched tag")
	}
	last := s.open[len(s.open)-1]
	if !bytes.Equal(s.src[last.from:last.to], got) {
		return s.fail(name.from, "mismatched tag")
	}
	s.open = s.open[:len(s.open)-1]
	s.name = local(got)
	return nil
}

// readName finds the end of the name that starts at a place.
func (s *scanner) readName(from int) (span, bool) {
	to := from
	for to < len(s.src) && isNameByte(s.src[to]) {
		to++
	}
	if to == from || s.src[from] == '-' || s.src[from] == '.' || s.src[from] >= '0' && s.src[from] <= '9' {
		return span{}, false
	}
	return span{from, to}, true
}

func (s *scanner) skipSpace() bool {
	from := s.pos
	for s.pos < len(s.src) && isSpace(s.src[s.pos]) {
		s.pos++
	}
	return s.pos > from
}

func isNameByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return c == '_' || c == ':' || c == '.' || c == '-' || c >= utf8.RuneSelf
	}
}

// local is a name without its namespace prefix.
func local(name []byte) []byte {
	return name[bytes.LastIndexByte(name, ':')+1:]
}
