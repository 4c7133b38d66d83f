package xmlrpc

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// legal says whether XML 1.0 has the character.
func legal(r rune) bool {
	switch {
	case r < 0x20:
		return r == '\t' || r == '\n' || r == '\r'
	case r < 0xD800:
		return true
	default:
		return r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= utf8.MaxRune
	}
}

// plain says whether a piece of character data stands for itself.
func plain(piece []byte) bool {
	for _, c := range piece {
		if c >= utf8.RuneSelf || c == '&' || c < 0x20 && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// appendText appends the character data src[from:to] to dst: line ends become
// \n, references become what they stand for unless the piece is a CDATA section.
func (s *scanner) appendText(dst []byte, from, to int, cdata bool) ([]byte, error) {
	for i := from; i < to; {
		c := s.src[i]
		switch {
		case c == '&' && !cdata:
			r, n := reference(s.src[i:to])
			if n == 0 {
				return nil, s.fail(i, "undefined entity or invalid character reference")
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case c == '\r':
			dst = append(dst, '\n')
			i++
			if i < to && s.src[i] == '\n' {
				i++
			}
		default:
			r, n := utf8.DecodeRune(s.src[i:to])
			if r == utf8.RuneError && n == 1 || !legal(r) {
				return nil, s.fail(i, "not well-formed (invalid character)")
			}
			dst = append(dst, s.src[i:i+n]...)
			i += n
		}
	}
	return dst, nil
}

// reference decodes the entity or character reference that text starts with.
// The length is 0 if there is none that may be used.
func reference(text []byte) (rune, int) {
	const longest = len("&#x0010FFFF;")
	end := bytes.IndexByte(text[:min(len(text), longest)], ';')
	if end < 0 {
		return 0, 0
	}
	switch name := string(text[1:end]); name {
	case "lt":
		return '<', end + 1
	case "gt":
		return '>', end + 1
	case "amp":
		return '&', end + 1
	case "quot":
		return '"', end + 1
	case "apos":
		return '\'', end + 1
	default:
		r, ok := characterReference(name)
		if !ok {
			return 0, 0
		}
		return r, end + 1
	}
}

// characterReference decodes "#65" and "#x41".
func characterReference(name string) (rune, bool) {
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	digits, base := name[1:], 10
	if digits[0] == 'x' {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	if err != nil || !legal(rune(n)) {
		return 0, false
	}
	return rune(n), true
}

// appendEscaped appends a string for use between tags. What XML 1.0 cannot
// express becomes U+FFFD, so that every client can read the rest.
func appendEscaped(dst []byte, text string) []byte {
	done := 0
	for i := 0; i < len(text); {
		replacement, n := "", 1
		switch c := text[i]; {
		case c == '&':
			replacement = "&amp;"
		case c == '<':
			replacement = "&lt;"
		case c == '>':
			replacement = "&gt;"
		case c == '\r':
			replacement = "&#13;"
		case c < 0x20 && c != '\n' && c != '\t':
			replacement = "\uFFFD"
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(text[i:])
			if r == utf8.RuneError && n == 1 || !legal(r) {
				replacement = "\uFFFD"
			}
		}
		if replacement != "" {
			dst = append(dst, text[done:i]...)
			dst = append(dst, replacement...)
			done = i + n
		}
		i += n
	}
	return append(dst, text[done:]...)
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
