package filecache

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason is the length in characters of what others may say in a reason.
const maxReason = 200

// printable makes one short line of a text that may come from anywhere. What is
// no UTF-8 is taken for Latin-1, as the reference does.
func printable(s string) string {
	s = oneLine(s)
	if r := []rune(s); len(r) > maxReason {
		return string(r[:maxReason]) + "..."
	}
	return s
}

func oneLine(s string) string {
	if !utf8.ValidString(s) {
		runes := make([]rune, 0, len(s))
		for i := range len(s) {
			runes = append(runes, rune(s[i]))
		}
		s = string(runes)
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\uFFFE' || r == '\uFFFF' {
			return ' '
		}
		return r
	}, s)
}

// redact removes user information from the URLs in a text, for example that of
// a proxy.
func redact(text string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "//")
		if i < 0 {
			b.WriteString(text)
			return b.String()
		}
		i += len("//")
		b.WriteString(text[:i])
		text = text[i:]
		end := strings.IndexAny(text, " \"'>")
		if end < 0 {
			end = len(text)
		}
		if at := strings.LastIndexByte(text[:end], '@'); at >= 0 {
			b.WriteString("[redacted]")
			text = text[at:]
		}
	}
}
