package backends

import (
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for want, words := range map[string][]string{
		"":                     {},
		"''":                   {""},
		"a b":                  {"a", "b"},
		"'a b'":                {"a b"},
		"A-Z_@%+=:,./-9":       {"A-Z_@%+=:,./-9"},
		`'it'"'"'s'`:           {"it's"},
		"'$HOME' '*' '~' '#'":  {"$HOME", "*", "~", "#"},
		"'ü' 'a\nb'":           {"ü", "a\nb"},
		"sh -c 'cd / && true'": {"sh", "-c", "cd / && true"},
	} {
		if got := Quote(words...); got != want {
			t.Errorf("%q: got %s, want %s", words, got, want)
		}
	}
}

func TestPythonLists(t *testing.T) {
	for want, words := range map[string][]string{
		`['linux64', 'snap', 'install', 'lxd']`: {"linux64", "snap", "install", "lxd"},
		`["it's", 'a"b', 'a\'b"', 'a\\b\n']`:    {"it's", `a"b`, `a'b"`, "a\\b\n"},
		`[]`:                                    {},
	} {
		if got := PythonList(words); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzQuote checks that reading back gives the same words.
func FuzzQuote(f *testing.F) {
	f.Add("", "a")
	f.Add("it's", "a b")
	f.Add("'\"'", "\n\x00\xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		line := Quote(a, b)
		if got := unquote(line); !slices.Equal(got, []string{a, b}) {
			t.Errorf("%q, %q became %s, read back as %q", a, b, line, got)
		}
	})
}

// unquote splits a line as a shell does that knows nothing but quotes.
func unquote(line string) []string {
	var words []string
	var word strings.Builder
	var quote byte
	for i := range len(line) {
		switch ch := line[i]; {
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word.WriteByte(ch)
		case ch == '\'' || ch == '"':
			quote = ch
		case ch == ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			word.WriteByte(ch)
		}
	}
	return append(words, word.String())
}
