package depwait_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"lpbuildd/builders/debian/depwait"
)

// available makes an index from words "name=version".
func available(t *testing.T, packages ...string) *depwait.Available {
	t.Helper()
	var index strings.Builder
	for _, p := range packages {
		name, version, _ := strings.Cut(p, "=")
		fmt.Fprintf(&index, "Package: %s\nVersion: %s\n\n", name, version)
	}
	return read(t, index.String())
}

func read(t *testing.T, indexes ...string) *depwait.Available {
	t.Helper()
	var a depwait.Available
	for _, index := range indexes {
		if err := a.Read(strings.NewReader(index)); err != nil {
			t.Fatal(err)
		}
	}
	return &a
}

func TestUnsatisfiedFindsTheOpenBuildDependencies(t *testing.T) {
	table := archTable(t)
	tests := []struct {
		name, arch, depends string
		packages            []string
		want                string
	}{
		{"all are there", "i386", "debhelper, foo (>= 1)", []string{"debhelper=9", "foo=1"}, ""},
		{
			"versions and alternatives", "i386", "debhelper (>= 9~), foo (>= 1), bar (<< 1) | bar (>= 2)",
			[]string{"debhelper=9", "bar=1", "bar=1.5"},
			"foo (>= 1), bar (<< 1) | bar (>= 2)",
		},
		{"architectures", "i386", "foo (>= 1) [any-i386], bar (>= 1) [amd64]", nil, "foo (>= 1)"},
		{"qualifiers", "i386", "foo:any, bar:any", []string{"bar=1"}, "foo"},
		{"profiles", "i386", "foo <!nocheck>, bar <stage1>", nil, "foo"},
		{"a version that is not there yet", "amd64", "ebadver (>= 2)", []string{"ebadver=1"}, "ebadver (>= 2)"},
		{"a package apt does not want for other reasons", "amd64", "uninstallable (>= 1)", []string{"uninstallable=1"}, ""},
		{
			"only what is open", "amd64", "ebadver (>= 2), uninstallable",
			[]string{"ebadver=1", "uninstallable=1"},
			"ebadver (>= 2)",
		},
		{"one alternative is enough", "amd64", "foo | bar", []string{"bar=1"}, ""},
		{"a trailing comma waits for nothing", "amd64", "foo, ", []string{"foo=1"}, ""},
		{"a trailing comma leaves the others", "amd64", "foo,,bar |,", nil, "foo, bar"},
		{"an excluded architecture", "amd64", "foo [!amd64], bar [!i386]", nil, "bar"},
		{"the first entry that matches decides", "amd64", "foo [!amd64 any], bar [any !amd64]", nil, "bar"},
		{"negations all of others", "amd64", "foo [!i386 !armhf]", nil, "foo"},
		{"an empty architecture list applies nowhere", "amd64", "foo [ ]", nil, ""},
		{"profile lists that all want a profile", "amd64", "foo <stage1> <cross !nocheck>", nil, ""},
		{"a profile list without wishes", "amd64", "foo <stage1> <!nocheck>", nil, "foo"},
		{"an unknown operator on an absent package", "amd64", "foo (> 1)", nil, "foo (> 1)"},
		{"an unknown operator behind a satisfied alternative", "amd64", "foo | bar (> 1)", []string{"foo=1", "bar=1"}, ""},
		{"malformed available versions fit nothing", "amd64", "foo (>= 0)", []string{"foo=bad"}, "foo (>= 0)"},
		{"malformed available versions do not hide others", "amd64", "foo (>= 0)", []string{"foo=bad", "foo=1"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dsc := strings.NewReader("Source: x\nBuild-Depends: " + tt.depends + "\n")
			got, err := depwait.Unsatisfied(dsc, available(t, tt.packages...), tt.arch, false, table)
			if err != nil || got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestUnsatisfiedHasNoResult(t *testing.T) {
	tests := []struct{ name, dsc string }{
		{"for an unknown operator", "Build-Depends: foo (> 1)\n"},
		{"for a text that is no dependency", "Build-Depends: foo, ${misc:Depends}\n"},
		{"for two names", "Build-Depends: foo, a b\n"},
		{"for a malformed version", "Build-Depends: foo (>= a:1)\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := depwait.Unsatisfied(strings.NewReader(tt.dsc), available(t, "foo=1"), "amd64", false, archTable(t))
			if err == nil || got != "" {
				t.Errorf("got %q, no error", got)
			}
		})
	}
	t.Run("for a file that cannot be read", func(t *testing.T) {
		broken := errors.New("disk on fire")
		_, err := depwait.Unsatisfied(iotest.ErrReader(broken), available(t), "amd64", false, archTable(t))
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnsatisfiedReadsTheDsc(t *testing.T) {
	const fields = "Format: 3.0 (quilt)\n" +
		"# a comment\n" +
		"Build-Depends: a,\n" +
		"#b,\n" +
		"  c\n" +
		"   (>= 1)\n" +
		"Description: x\n Build-Depends: no\n" +
		"build-depends-indep: i\n" +
		"Build-Depends-Arch: d,\n" +
		"Files:\n 0123 1 x.tar\n"
	signed := "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\nBuild-Depends: no\n\n" + fields +
		"\n-----BEGIN PGP SIGNATURE-----\nBuild-Depends: no\n\niQ==\n-----END PGP SIGNATURE-----\n"
	tests := []struct {
		name, dsc string
		indep     bool
		want      string
	}{
		{"folded fields and comments", fields, false, "a, c (>= 1), d"},
		{"architecture-independent packages too", fields, true, "a, c (>= 1), d, i"},
		{"a signed file", signed, false, "a, c (>= 1), d"},
		{"a signed file with DOS line ends", strings.ReplaceAll("\n"+signed, "\n", "\r\n"), false, "a, c (>= 1), d"},
		{"escaped dashes in a signed file", strings.Replace(signed, "Build-Depends: a", "- Build-Depends: a", 1), false, "a, c (>= 1), d"},
		{"a signature that never begins", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: x\n\n" + fields, false, "a, c (>= 1), d"},
		{"only the first stanza", "Build-Depends: a\n\nBuild-Depends: b\n", false, "a"},
		{"blank lines first", "\n \nBuild-Depends: a", false, "a"},
		{"no fields", "Source: x\n", true, ""},
		{"an empty file", "", true, ""},
		{"a long line that nobody wants", "Binary: " + strings.Repeat("x", 1<<20) + "\nBuild-Depends: a\n", false, "a"},
		{"a long line of build dependencies", "Build-Depends: a [!any]" + strings.Repeat(", generated [!any]", 100_000) + ", z\n", false, "z"},
		{"many lines of build dependencies", "Build-Depends: a [!any]," + strings.Repeat("\n generated [!any],", 300_000) + "\n z\n", false, "z"},
		{"a long list of packages", "Package-List:" + strings.Repeat("\n generated deb misc optional arch=any", 200_000) + "\nBuild-Depends: a\n", false, "a"},
		{"a long last line that nobody wants", "Build-Depends: a\nBinary: " + strings.Repeat("x", 1<<20), false, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := depwait.Unsatisfied(strings.NewReader(tt.dsc), &depwait.Available{}, "amd64", tt.indep, archTable(t))
			if err != nil || got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestWhatIsTooLongIsRefusedAndNotCut(t *testing.T) {
	unsatisfied := func(r io.Reader) error {
		_, err := depwait.Unsatisfied(r, &depwait.Available{}, "amd64", false, archTable(t))
		return err
	}
	available := func(r io.Reader) error { return (&depwait.Available{}).Read(r) }
	for _, c := range []struct {
		text, want string
		read       func(io.Reader) error
	}{
		{strings.Repeat("Comment: x\n", 2<<20), "cannot read the .dsc: it is larger than 16777216 bytes", unsatisfied},
		{
			"Build-Depends: " + strings.Repeat("a,", 2<<20),
			"cannot read the .dsc: the field Build-Depends is longer than 16777216 bytes, or than 4194304 on one line", unsatisfied,
		},
		{
			"Provides:\n" + strings.Repeat(" a, a, a, a,\n", 2<<20),
			"cannot read a package index: the field Provides is longer than 16777216 bytes", available,
		},
	} {
		if err := c.read(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

func TestAvailableJoinsIndexes(t *testing.T) {
	a := read(t,
		"Package: foo\nVersion: 1.0\nProvides: virt\n\nPackage: bar\nVersion: 2.0\nProvides: versioned-virt (= 3.0)\n",
		"Package: foo\nVersion: 1.1\n",
		"Package: odd\nVersion: 1\nProvides: one | two, three (>= 1),\n four:any (= 4), ,five\n",
		"\n\nPackage: noversion\n\nVersion: 1\n\n")
	tests := []struct {
		name        string
		versions    []string
		unversioned bool
	}{
		{"foo", []string{"1.0", "1.1"}, false},
		{"bar", []string{"2.0"}, false},
		{"virt", nil, true},
		{"versioned-virt", []string{"3.0"}, false},
		{"one", nil, false},
		{"three", nil, false},
		{"four", []string{"4"}, false},
		{"five", nil, true},
		{"noversion", nil, false},
		{"", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			versions, unversioned := a.Versions(tt.name)
			if !slices.Equal(versions, tt.versions) || unversioned != tt.unversioned {
				t.Errorf("got %q, %v", versions, unversioned)
			}
		})
	}
}

func TestAvailableIsWhatCanBeInstalledOrIs(t *testing.T) {
	a := depwait.Available{Arch: "amd64"}
	for _, index := range []string{
		"Package: native\nVersion: 1\nArchitecture: amd64\n\nPackage: all\nVersion: 1\nArchitecture: all\n\n" +
			"Package: foreign\nVersion: 1\nArchitecture: i386\nProvides: virtual\n\n" +
			"Package: tool\nVersion: 1\nArchitecture: i386\nMulti-Arch: foreign\n\n" +
			"Package: lib\nVersion: 1\nArchitecture: i386\nMulti-Arch: same\n",
		"Package: installed\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n" +
			"Package: held\nStatus: hold ok installed\nVersion: 1\nArchitecture: amd64\n\n" +
			"Package: removed\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: amd64\n\n" +
			"Package: broken\nStatus: install ok half-installed\nVersion: 1\nArchitecture: amd64\n",
	} {
		if err := a.Read(strings.NewReader(index)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{
		"native": true, "all": true, "foreign": false, "virtual": false, "tool": true, "lib": false,
		"installed": true, "held": true, "removed": false, "broken": false,
	} {
		if versions, bare := a.Versions(name); (len(versions) > 0 || bare) != want {
			t.Errorf("%s: %q", name, versions)
		}
	}
}

func TestSatisfiesUnderstandsAptsRelations(t *testing.T) {
	a := available(t, "foo=1", "foo=3", "bar=1")
	for depends, want := range map[string]bool{
		"foo": true, "foo (< 2)": true, "foo (< 1)": false, "foo (> 3)": false, "foo (> 2)": true, "foo (>= 4)": false,
		"absent": false, "absent | bar": true, "foo, absent": false, "bar:any (= 1)": true,
	} {
		if got, err := a.Satisfies(depends); err != nil || got != want {
			t.Errorf("%s: %v (%v)", depends, got, err)
		}
	}
	if _, err := a.Satisfies("foo (<> 1)"); err == nil {
		t.Error("an unknown relation is no error")
	}
	for depends, want := range map[string]bool{"foo (>= 4)": true, "absent | bar": true, "absent (>= 1)": false} {
		if got := a.Knows(depends); got != want {
			t.Errorf("%s is known: %v", depends, got)
		}
	}
}

func TestAProviderWithoutVersionSatisfiesNoVersion(t *testing.T) {
	a := read(t, "Package: foo\nVersion: 1\nProvides: virt\n")
	dsc := strings.NewReader("Build-Depends: virt, virt (>= 0)\n")
	got, err := depwait.Unsatisfied(dsc, a, "amd64", false, archTable(t))
	if err != nil || got != "virt (>= 0)" {
		t.Errorf("got %q (%v)", got, err)
	}
}

func TestAvailableReportsAReadError(t *testing.T) {
	broken := errors.New("disk on fire")
	var a depwait.Available
	if err := a.Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestVersionsCompareLikeDpkg asks the solver and dpkg the same questions.
func TestVersionsCompareLikeDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skipf("needs dpkg, to compare with: %v", err)
	}
	versions := []string{
		"0", "1", "1.0", "1.0-0", "1.0-1", "1.0~rc1", "1.0~rc1-1", "1.0~~", "1.0+b1", "1.0a", "1.0-1ubuntu1",
		"1.0-1~bpo12+1", "1:0.1", "0:1.0", "10", "9", "1.10", "1.9", "2013-02-1", "1.0-1-1", "20240101.gitabcdef-1", "1..2", "1.a",
	}
	names := map[string]string{"<<": "lt", "<=": "le", "=": "eq", ">=": "ge", ">>": "gt"}
	for i, have := range versions {
		for j, limit := range versions {
			op := []string{"<<", "<=", "=", ">=", ">>"}[(i+j)%5]
			want := exec.CommandContext(t.Context(), dpkg, "--compare-versions", have, names[op], limit).Run() == nil
			dsc := strings.NewReader("Build-Depends: foo (" + op + " " + limit + ")\n")
			open, err := depwait.Unsatisfied(dsc, available(t, "foo="+have), "amd64", false, archTable(t))
			if got := open == ""; err != nil || got != want {
				t.Errorf("%s %s %s: got %v (%v), dpkg says %v", have, op, limit, got, err, want)
			}
		}
	}
}

// FuzzUnsatisfied checks that whatever the inputs are, the result is stripped.
func FuzzUnsatisfied(f *testing.F) {
	f.Add("Build-Depends: a (>= 1), b [amd64] <!x>\n", "Package: a\nVersion: 1\nProvides: b (= 2)\n")
	f.Add("-----BEGIN PGP SIGNED MESSAGE-----\n\nBuild-Depends: a,\n b\n", "Package: a\nVersion: 1:\n\n")
	f.Add("Build-Depends: a (= 1-), ${x}\n#\n \n", "Provides:\n a,\n#\n b\nPackage: a")
	table := archTable(f)
	f.Fuzz(func(t *testing.T, dsc, index string) {
		var a depwait.Available
		if err := a.Read(iotest.OneByteReader(strings.NewReader(index))); err != nil {
			t.Fatal(err)
		}
		open, err := depwait.Unsatisfied(strings.NewReader(dsc), &a, "amd64", true, table)
		if err == nil && depwait.Strip(open) != open {
			t.Fatalf("%q is not stripped", open)
		}
	})
}

// packagesIndex is as large as a real index: 63,000 stanzas, 50 MB.
func packagesIndex() []byte {
	var b bytes.Buffer
	for i := range 63_000 {
		fmt.Fprintf(&b, "Package: libgenerated%d-dev\nSource: generated (%d.1)\nVersion: 1:%d.%d+dfsg-1\nInstalled-Size: %d\n"+
			"Maintainer: Somebody <somebody@example.test>\nArchitecture: amd64\n", i, i, i%7, i, i)
		if i%4 == 0 {
			fmt.Fprintf(&b, "Provides: virtual-%d, libgenerated%d-abi (= %d)\n", i%500, i, i)
		}
		b.WriteString("Depends: libc6 (>= 2.34), libgcc-s1 (>= 3.0), libstdc++6 (>= 12), libfoo0 (>= 0.1)\n" +
			"Description: generated\nHomepage: https://generated.example.test/\n")
		for range 5 {
			b.WriteString("Tag: devel::lang:c, devel::library, implemented-in::c, role::devel-lib, suite::x\n")
		}
		fmt.Fprintf(&b, "Section: libdevel\nPriority: optional\nFilename: pool/main/g/generated/libgenerated%d-dev_1_amd64.deb\n"+
			"Size: 123456\nSHA256: 6d0d0aa0f5b3e5a6d6b6e5bd4a3e1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b\n\n", i)
	}
	return b.Bytes()
}

func BenchmarkAvailableRead(b *testing.B) {
	index := packagesIndex()
	b.SetBytes(int64(len(index)))
	b.ReportAllocs()
	for b.Loop() {
		var a depwait.Available
		if err := a.Read(bytes.NewReader(index)); err != nil {
			b.Fatal(err)
		}
	}
}
