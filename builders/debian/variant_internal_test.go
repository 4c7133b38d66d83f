package debian

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func TestFindVariant(t *testing.T) {
	for _, c := range []struct {
		name, table string
		known       bool
		flags       string
	}{
		{"a line", "amd64v3 amd64 abm,avx,avx2\n", true, "abm avx avx2"},
		{"no newline at the end", "amd64v3 amd64 avx", true, "avx"},
		{"among others", "# comment\n\namd64v2 amd64 cx16\namd64v3 amd64 avx\namd64v4 amd64 avx512f\n", true, "avx"},
		{"tabs and blanks", "\t amd64v3 \t amd64\tavx \n", true, "avx"},
		{"lines of Windows", "#\r\namd64v3 amd64 avx\r\n", true, "avx"},
		{"no flags", "amd64v3 amd64\n", true, ""},
		{"blanks after commas", "amd64v3 amd64 avx, avx2,,bmi1 ,\n", true, "avx avx2 bmi1"},
		{"a comment after the flags", "amd64v3 amd64 avx # and amd64v4 amd64\n", true, "avx"},
		{"more columns", "amd64v3 amd64 avx something\n", true, "avx something"},
		{"a line twice", "amd64v3 amd64 avx\namd64v3 amd64 sse\n", true, "avx"},
		{"for another architecture first", "amd64v3 x32 sse\namd64v3 amd64 avx\n", true, "avx"},
		{"a very long comment", "#" + strings.Repeat("x", 1<<20) + "\namd64v3 amd64 avx\n", true, "avx"},
		{"a million other lines", strings.Repeat("amd64v2 amd64\n", 1e6) + "amd64v3 amd64 avx\n", true, "avx"},
		{"bytes that are no text", "\xff\x00\xfe\namd64v3 amd64 avx\n", true, "avx"},
		{"nothing", "", false, ""},
		{"only the variant", "amd64v3\n", false, ""},
		{"a comment", "#amd64v3 amd64 avx\n", false, ""},
		{"the architecture is a comment", "amd64v3 #amd64\n", false, ""},
		{"for another architecture", "amd64v3 i386 avx\n", false, ""},
		{"the columns are swapped", "amd64 amd64v3 avx\n", false, ""},
		{"another case", "AMD64v3 amd64 avx\n", false, ""},
		{"the beginning of a word", "amd64v33 amd64 avx\namd64v3 amd644\n", false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, known := findVariant(c.table, "amd64v3", "amd64")
			if known != c.known || strings.Join(v.flags, " ") != c.flags {
				t.Errorf("got %q, %v", v.flags, known)
			}
		})
	}
}

func TestFlagsThatAProcessorLacks(t *testing.T) {
	const (
		x86 = "processor\t: 0\nmodel name\t: Any: avx512f\nflags\t\t: fpu cx16 pni ssse3 sse4_1 lahf_lm abm avx AVX2 xsave\n"
		arm = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU part\t: 0xd40\n"
		rv  = "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdcv_zicsr_zba\nmmu\t\t: sv48\n"
	)
	for _, c := range []struct{ flags, cpuinfo, want string }{
		{"fpu,avx,avx2", x86, ""},
		{"avx,bmi2,f16c", x86, "bmi2,f16c"},
		{"lzcnt,abm,sse3,pni,lahf_lm,lahf-sahf,cmpxchg16b,sse4.1,SSE4_1,osxsave", x86, ""},
		{"abm", "flags : lzcnt\n", ""},
		{"pni", "flags : sse3\n", ""},
		{"avx512f", x86, "avx512f"},
		{"sve,sve2", arm, "sve2"},
		{"i,v,zba,zbb,r", rv, "zbb,r"},
		{"avx", "", "avx"},
		{"", "", ""},
	} {
		v, _ := findVariant("v a "+c.flags, "v", "a")
		if got := strings.Join(v.lacking(c.cpuinfo), ","); got != c.want {
			t.Errorf("%s: lacks %q, want %q", c.flags, got, c.want)
		}
	}
}

func TestGatherForAVariant(t *testing.T) {
	const ofVariant, ofABI = "foo_1_amd64v3.changes", "foo_1_amd64.changes"
	for _, c := range []struct {
		name     string
		made     []string
		gathered []string
		err      string
	}{
		{"of the variant", []string{ofVariant}, []string{ofVariant}, ""},
		{"of both", []string{ofVariant, ofABI}, []string{ofVariant}, ""},
		{"of the ABI", []string{ofABI}, nil, "the packages were built for amd64 and not for the variant amd64v3"},
		{"of neither", []string{"foo_1_all.changes"}, nil, "cannot gather " + ofVariant + ": the build succeeded without making it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range c.made {
				write(t, dir, name, "Architecture: amd64\n")
			}
			var got []string
			err := (&binaryPackage{dsc: "foo_1.dsc"}).Gather(t.Context(),
				builders.Env{Job: builders.Job{Dir: dir}, Common: builders.Common{ABI: "amd64", Variant: "amd64v3"}},
				func(name string, content io.ReadCloser) error {
					got = append(got, name)
					return content.Close()
				})
			if !slices.Equal(got, c.gathered) || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("gathered %q, %v", got, err)
			}
			var judged *verdict.BuildError
			if errors.As(err, &judged) && judged.Outcome != verdict.PackageFail {
				t.Errorf("it is %s", judged.Outcome)
			}
		})
	}
}

// FuzzVariantTable: whatever the table is, a line for the pair that is added to it
// is found, and nothing that it does not name.
func FuzzVariantTable(f *testing.F) {
	f.Add("amd64v3 amd64 avx\n", "amd64v3", "amd64")
	f.Add("#\r\n\xff\n\n a b\tc,d e", "a", "b")
	f.Fuzz(func(t *testing.T, table, name, abi string) {
		if _, known := findVariant(table, name, abi); known && !strings.Contains(table, name) {
			t.Errorf("%q of %q is known", name, abi)
		}
		isWord := func(s string) bool {
			return len(strings.Fields(s)) == 1 && strings.Fields(s)[0] == s && !strings.Contains(s, "#")
		}
		if isWord(name) && isWord(abi) {
			if _, known := findVariant(table+fmt.Sprintf("\n%s %s", name, abi), name, abi); !known {
				t.Errorf("%q of %q is not known", name, abi)
			}
		}
	})
}
