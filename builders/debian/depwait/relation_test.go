package depwait

import (
	"reflect"
	"testing"
)

func TestParseRelationReadsTheGrammar(t *testing.T) {
	tests := []struct {
		text string
		want relation
	}{
		{"foo", relation{name: "foo"}},
		{"libstdc++6.1-dev", relation{name: "libstdc++6.1-dev"}},
		{"foo(>=1)", relation{name: "foo", op: ">=", version: "1"}},
		{"foo:any ( << 1:2~rc+3-4 )", relation{name: "foo", op: "<<", version: "1:2~rc+3-4"}},
		{"foo (> 1)", relation{name: "foo", op: ">", version: "1"}},
		{"foo [linux-any !hurd-i386]", relation{name: "foo", archs: []string{"linux-any", "!hurd-i386"}}},
		{"foo[ ]", relation{name: "foo", archs: []string{}}},
		{"foo <!nocheck !cross> <stage1>", relation{name: "foo", profiles: [][]string{{"!nocheck", "!cross"}, {"stage1"}}}},
		{
			"foo:amd64 (= 1)\n [i386]\t<a>",
			relation{name: "foo", op: "=", version: "1", archs: []string{"i386"}, profiles: [][]string{{"a"}}},
		},
		{"${misc:Depends}", relation{name: "${misc:Depends}"}},
		{"foo (>= ${binary:Version})", relation{name: "foo (>= ${binary:Version})"}},
		{"foo bar", relation{name: "foo bar"}},
		{"foo (1)", relation{name: "foo (1)"}},
		{"foo (>=)", relation{name: "foo (>=)"}},
		{"foo (>= 1", relation{name: "foo (>= 1"}},
		{"foo []", relation{name: "foo []"}},
		{"foo [amd64", relation{name: "foo [amd64"}},
		{"foo <>", relation{name: "foo <>"}},
		{"foo < >", relation{name: "foo < >"}},
		{"foo <a", relation{name: "foo <a"}},
		{"foo:", relation{name: "foo:"}},
		{"-foo", relation{name: "-foo"}},
		{"foo [amd64] (>= 1)", relation{name: "foo [amd64] (>= 1)"}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			if got := parseRelation(tt.text); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestStripFormatsWhatRemains(t *testing.T) {
	tests := []struct{ name, field, want string }{
		{"everything that is stripped", "a:any (>=1) [amd64] <!nocheck>,b", "a (>= 1), b"},
		{"alternatives", "a|b:native  |  c (<< 2)", "a | b | c (<< 2)"},
		{"a trailing comma", "a, ", "a"},
		{"empty groups and alternatives", " , a,, b | , | ,", "a, b"},
		{"only commas", ", ,", ""},
		{"nothing", "", ""},
		{"text that is no relation", "${x}, foo (>= ${y})", "${x}, foo (>= ${y})"},
		{"folded fields", "\n a,\n b (>= 1)\n", "a, b (>= 1)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Strip(tt.field); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzStrip checks that a stripped field stays as it is, and that parsing what
// was printed gives what was printed.
func FuzzStrip(f *testing.F) {
	for _, s := range []string{
		"a:any (>= 1) [amd64] <!nocheck>, b | c", "a,,|", "${x} (", "a[ ]<a><b>", "a\n(=\t1)", "a (>= 1) [!i386 any]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		once := Strip(field)
		if again := Strip(once); again != once {
			t.Fatalf("%q stripped is %q, stripped again %q", field, once, again)
		}
		for _, g := range parseGroups(once) {
			for _, r := range g {
				if back := parseRelation(r.String()); !reflect.DeepEqual(back, r) {
					t.Fatalf("%#v printed and parsed is %#v", r, back)
				}
			}
		}
	})
}
