package debian

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestParseChanges(t *testing.T) {
	long := strings.Repeat("x", 117_000)
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"as dpkg writes it":                {sampleChanges, []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"a long line before the files":     {"Changes:\n foo (1) stable; urgency=low\n .\n   * " + long + "\n" + sampleChanges, []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"a long line behind the files":     {sampleChanges + " " + long + "\nFiles:\n 0 1 x optional b.deb\n", []string{"foo_1_i386.deb", "foo-data_1_all.deb", "b.deb"}},
		"a long line that is the last":     {sampleChanges + " " + long, []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"a long field on one line":         {"Binary: " + long + "\n" + sampleChanges, []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"Files in a long line":             {"Binary: " + long + "Files:\n 0 1 x optional no.deb\n" + sampleChanges, []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"line ends of other systems":       {strings.ReplaceAll(sampleChanges, "\n", "\r\n"), []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"no line end":                      {"Files:\n 0 1 x optional a.deb", []string{"a.deb"}},
		"tabs":                             {"Files:\n\t0\t1\tx\toptional\ta.deb\n", []string{"a.deb"}},
		"another way to write the field":   {"FILES: \n 0 1 x optional a.deb\n", []string{"a.deb"}},
		"fields whose names begin so":      {"Files-Excluded:\n a\nFiles\n b\n", nil},
		"an empty field":                   {"Files:\n \nDescription: x\n", nil},
		"an empty file":                    {"", nil},
		"a signature":                      {"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + sampleChanges + "-----BEGIN PGP SIGNATURE-----\n\niQIzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n", []string{"foo_1_i386.deb", "foo-data_1_all.deb"}},
		"a line as long as its limit":      {"Files:\n " + strings.Repeat("a", maxFilesLine-2) + "\n 0 b", []string{strings.Repeat("a", maxFilesLine-2), "b"}},
		"a signature behind a short field": {"Files:\n 0 1 x optional a.deb\n-----BEGIN PGP SIGNATURE-----\n b.deb\n", []string{"a.deb"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseChanges(strings.NewReader(c.text)); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %.200q, %v, want %.200q", got, err, c.want)
			}
		})
	}
}

func TestParseChangesOfManyFiles(t *testing.T) {
	var text strings.Builder
	var want []string
	text.WriteString("Files:\n")
	for i := range 50_000 { // some 5 MB
		want = append(want, fmt.Sprintf("libsomething-with-a-rather-long-name-%d_1.0-1_amd64.deb", i))
		fmt.Fprintf(&text, " d41d8cd98f00b204e9800998ecf8427e 123456 libs optional %s\n", want[i])
	}
	if got, err := ParseChanges(strings.NewReader(text.String())); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d of %d names, %v", len(got), len(want), err)
	}
}

func TestParseChangesRefusesRatherThanCutting(t *testing.T) {
	for want, r := range map[string]io.Reader{
		"a line of its field Files is longer than 65536 bytes": strings.NewReader("Files:\n " + strings.Repeat("a", maxFilesLine)),
		"it is larger than 67108864 bytes":                     io.MultiReader(strings.NewReader("Changes:\n "), io.LimitReader(letters{}, maxChanges)),
		"it names more than 250000 files":                      io.MultiReader(strings.NewReader("Files:\n"), &numbers{}),
	} {
		if got, err := ParseChanges(r); err == nil || err.Error() != want {
			t.Errorf("got %d names, %v, want %s", len(got), err, want)
		}
	}
}

// letters is a line without an end.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat("a", 64<<10)), nil
}

// numbers are continuation lines without an end, each another one.
type numbers struct{ n int }

func (r *numbers) Read(p []byte) (int, error) {
	r.n++
	return copy(p, fmt.Appendf(nil, " %d\n", r.n)), nil
}

// FuzzParseChanges: every name is a word of the text, at the end of a line that
// goes on with a field, and comes once.
func FuzzParseChanges(f *testing.F) {
	f.Add(sampleChanges)
	f.Add("Files:\r\n\ta b\r\n c")
	f.Add("Changes:\n " + strings.Repeat("x", maxFilesLine) + "\nFiles:\n a\n")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := ParseChanges(strings.NewReader(text))
		if err != nil && len(text) < maxFilesLine {
			t.Fatal(err)
		}
		lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
		for i, name := range names {
			if slices.Contains(names[:i], name) {
				t.Errorf("%q comes twice", name)
			}
			if !slices.ContainsFunc(lines, func(line string) bool {
				words := strings.Fields(line)
				return startsWithBlank([]byte(line)) && len(words) > 0 && words[len(words)-1] == name
			}) {
				t.Errorf("%q is no name in %q", name, text)
			}
		}
	})
}
