package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseINI(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"equals sign and colon both separate", "[a]\nx = 1\ny: 2\n", "[a]\nx = 1\ny = 2\n"},
		{"the first separator counts", "[a]\nx = 1:2=3\ny: 4=5", "[a]\nx = 1:2=3\ny = 4=5\n"},
		{"keys are lower-cased, sections are not", "[A]\nKey = Value", "[A]\nkey = Value\n"},
		{"full-line comments vanish, wherever they start", "# c\n[a]\n  ; c\nx = 1\n   # c\n", "[a]\nx = 1\n"},
		{"comment signs inside a value stay", "[a]\nx = a#b ; c", "[a]\nx = a#b ; c\n"},
		{"indented lines continue a value", "[a]\nx = 1\n  2\n\t3", "[a]\nx = 1\n\t2\n\t3\n"},
		{"comments and empty lines do not end a value", "[a]\nx = 1\n# c\n\n  2\n\n", "[a]\nx = 1\n\t\n\t2\n"},
		{"an indented section header continues a value", "[a]\nx = 1\n [b]\ny = 2", "[a]\nx = 1\n\t[b]\ny = 2\n"},
		{"indented keys of the same depth are keys", "[a]\n  x = 1\n  y = 2", "[a]\nx = 1\ny = 2\n"},
		{"depth is counted in characters", "[a]\n\u2003x = 1\n  y = 2", "[a]\nx = 1\n\ty = 2\n"},
		{"nothing continues a section header", "[a]\n  x = 1", "[a]\nx = 1\n"},
		{"text after a section header is ignored", "[a] # c\nx = 1", "[a]\nx = 1\n"},
		{"a header extends to the last bracket", "[a] b]\nx=1", "[a] b]\nx = 1\n"},
		{"values may be empty", "[a]\nx =\ny:\n", "[a]\nx = \ny = \n"},
		{"all line ends work", "[a]\r\nx = 1\ry = 2\r\n", "[a]\nx = 1\ny = 2\n"},
		{"DEFAULT may come twice", "[DEFAULT]\nx = 1\n[a]\n[DEFAULT]\ny = 2", "[DEFAULT]\nx = 1\ny = 2\n[a]\n"},
		{"quotes stay", "[a]\nx = \"1\"", "[a]\nx = \"1\"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseINI([]byte(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := f.String(); got != tt.want {
				t.Errorf("got\n%q, want\n%q", got, tt.want)
			}
		})
	}
}

func TestParseINIErrors(t *testing.T) {
	tests := []struct {
		name, in, want string
	}{
		{"a key before the first section", "\nx = 1", `line 2: "x = 1" comes before the first [section]`},
		{"a section twice", "[a]\n[b]\n[a]", "line 3: the section [a] is there twice, the first is in line 1"},
		{"a key twice, in other case", "[a]\nx=1\nX: 2", "line 3: the key x is twice in [a], the first is in line 2"},
		{"a key twice in two DEFAULTs", "[DEFAULT]\nx=1\n[DEFAULT]\nx=2", "line 4: the key x is twice in [DEFAULT], the first is in line 2"},
		{"a line without separator", "[a]\nword", `line 2: "word" is neither a [section], nor key = value`},
		{"a value without key", "[a]\n= 1", `line 2: "= 1" is neither a [section], nor key = value`},
		{"binary data", "[a]\nx = \xff", "line 1: the file is not UTF-8 text"},
		{
			"all at once, without secrets", "[a]\nhttp//\n://u:p@h\n",
			"line 2: \"http//\" is neither a [section], nor key = value\nline 3: \"://[redacted]@h\" is neither a [section], nor key = value",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseINI([]byte(tt.in))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	const file = `[DEFAULT]
base = /srv
deep = %(base)s/deep
[a]
own = 1
x = `
	tests := []struct {
		name, value, want, err string
	}{
		{"two percent signs are one", "50%% %%(own)s", "50% %(own)s", ""},
		{"a key of the section", "<%(own)s>", "<1>", ""},
		{"a name in other case", "%(OWN)s", "1", ""},
		{"inherited and nested", "%(deep)s/%(own)s", "/srv/deep/1", ""},
		{"a lone percent sign", "50%", "", `"%" is neither`},
		{"a percent sign before text", "50%x", "", `"%x" is neither`},
		{"an open reference", "%(own", "", `"%(" is neither`},
		{"a reference without s", "%(own)d", "", `"%(" is neither`},
		{"a missing key", "%(none)s", "", "%(none)s names a key that is neither in [a] nor in [DEFAULT]"},
		{"itself", "%(x)s", "", "nested more than 10 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parseINI([]byte(file + tt.value))
			if err != nil {
				t.Fatal(err)
			}
			o, _ := f.option("a", "x")
			got, err := f.expand("a", o)
			if tt.err == "" && (err != nil || got != tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %q, %v, want error with %q", got, err, tt.err)
			}
		})
	}
}

func TestExpandStopsAtMultiplyingValues(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "[a]\nx0 = %0100d", 0)
	for i := 1; i < 10; i++ {
		fmt.Fprintf(&text, "\nx%d = %s", i, strings.Repeat(fmt.Sprintf("%%(x%d)s", i-1), 10))
	}
	f, err := parseINI([]byte(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	o, _ := f.option("a", "x9")
	if _, err := f.expand("a", o); err == nil || !strings.Contains(err.Error(), "longer than 65536 bytes") {
		t.Errorf("got %v", err)
	}
}

// FuzzParseINI: what can be read can be printed, and reading that gives the
// same file.
func FuzzParseINI(f *testing.F) {
	f.Add([]byte("[DEFAULT]\nroot = /srv\n[builder]\nFileCache: %(root)s/cache\nbindport = 8221\n"))
	f.Add([]byte("[a] x]\n x = 1\n   [b]\n\n  2 ; c\n# c\ny\t:\n  3\r\n"))
	f.Add([]byte("[[]\n[x = ]\n]= %%(a)s %(]=)s"))
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := parseINI(data)
		if err != nil {
			return
		}
		for _, s := range first.sections {
			for _, o := range s.options {
				_, _ = first.expand(s.name, o)
			}
		}
		second, err := parseINI([]byte(first.String()))
		if err != nil {
			t.Fatalf("cannot read what was printed: %v\n%q", err, first)
		}
		if first.String() != second.String() {
			t.Errorf("printed %q, then %q", first, second)
		}
	})
}
