package apt

import (
	"strings"
	"testing"
)

func TestDeb822(t *testing.T) {
	for _, c := range []struct{ name, line, want, unknown string }{
		{
			"the first worked example",
			"deb [trusted=yes] http://archive.ubuntu.com/ubuntu oracular main",
			"Types: deb\nURIs: http://archive.ubuntu.com/ubuntu\nEnabled: yes\nSuites: oracular\nComponents: main\nTrusted: yes\n\n",
			"",
		},
		{
			"the second worked example",
			"deb [ arch=amd64,armel lang=en_US,en_CA ] http://ppa.launchpad.net/launchpad/ppa/ubuntu oracular main",
			"Types: deb\nURIs: http://ppa.launchpad.net/launchpad/ppa/ubuntu\nEnabled: yes\nSuites: oracular\n" +
				"Components: main\nArchitectures: amd64,armel\nLanguages: en_US,en_CA\n\n",
			"",
		},
		{"no source at all", "bad-source.com", "", ""},
		{"an unknown option", "deb [reject=yes] http://h/ oracular main", "", "reject"},
		{"adding to an option", "deb [arch+=amd64] http://h/ oracular main", "", "arch+"},
		{
			"components keep their order and lose duplicates", "deb http://h/ s universe main  universe restricted",
			"Types: deb\nURIs: http://h/\nEnabled: yes\nSuites: s\nComponents: universe main restricted\n\n", "",
		},
		{
			"a flat archive of sources", "  deb-src   http://h/a   ./",
			"Types: deb-src\nURIs: http://h/a\nEnabled: yes\nSuites: ./\n\n", "",
		},
		{
			"a value with = in it", "deb [signed-by=/k/a=b=c] http://h/ s main",
			"Types: deb\nURIs: http://h/\nEnabled: yes\nSuites: s\nComponents: main\nSigned-By: /k/a=b=c\n\n", "",
		},
		{
			"a later option replaces an earlier one in its place",
			"deb [arch=i386 trusted=no] [arch=amd64 nonsense] http://h/ s main",
			"Types: deb\nURIs: http://h/\nEnabled: yes\nSuites: s\nComponents: main\nArchitectures: amd64\nTrusted: no\n\n", "",
		},
		{"a tab does not separate", "deb\thttp://h/ s main", "", ""},
		{"a CD-ROM", "deb cdrom:[Debian]/ s main", "", ""},
		{"two lines", "deb http://h/ s main\ndeb http://i/ s main", "", ""},
		{
			"a line feed at the end", "deb http://h/ s main\n",
			"Types: deb\nURIs: http://h/\nEnabled: yes\nSuites: s\nComponents: main\n\n", "",
		},
		{"no suite", "deb http://h/", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, unknown := deb822(c.line)
			if got != c.want || unknown != c.unknown {
				t.Errorf("got\n%s(unknown option %q), want\n%s(%q)", got, unknown, c.want, c.unknown)
			}
		})
	}
}

// FuzzDeb822: whatever the line, the result is nothing, or one stanza of known
// fields, each once, that repeats words of the line.
func FuzzDeb822(f *testing.F) {
	f.Add("deb [trusted=yes] http://archive.ubuntu.com/ubuntu oracular main universe main")
	f.Add("deb-src [ arch=amd64,armel lang=en_US ] http://h/ ./")
	f.Add("deb [reject=yes] http://h/ s main")
	f.Add("deb [[a=b]]=[c] x://y z\r\x00")
	known := map[string]bool{"Types": true, "URIs": true, "Enabled": true, "Suites": true, "Components": true}
	for _, field := range sourceOptions {
		known[field] = true
	}
	f.Fuzz(func(t *testing.T, line string) {
		stanza, unknown := deb822(line)
		if stanza == "" {
			return
		}
		if unknown != "" {
			t.Errorf("%q has the unknown option %q and a stanza", line, unknown)
		}
		body, ok := strings.CutSuffix(stanza, "\n\n")
		if !ok || strings.Contains(body, "\n\n") {
			t.Fatalf("%q is not one stanza: %q", line, stanza)
		}
		seen := map[string]bool{}
		for field := range strings.SplitSeq(body, "\n") {
			key, value, ok := strings.Cut(field, ": ")
			if !ok || !known[key] || seen[key] {
				t.Fatalf("bad field %q in %q", field, stanza)
			}
			seen[key] = true
			for word := range strings.SplitSeq(value, " ") {
				if key != "Enabled" && !strings.Contains(strings.NewReplacer("[", "", "]", "").Replace(line),
					strings.NewReplacer("[", "", "]", "").Replace(word)) {
					t.Fatalf("%q is not in %q", word, line)
				}
			}
		}
	})
}
