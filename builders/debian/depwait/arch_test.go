package depwait_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/builders/debian/depwait"
)

// archTable is loaded from a few rows in the form of dpkg's tables.
func archTable(tb testing.TB) *depwait.ArchTable {
	tb.Helper()
	table, err := depwait.LoadArchTable(filepath.Join("testdata", "dpkg"))
	if err != nil {
		tb.Fatal(err)
	}
	return table
}

func TestArchTableMatchesWildcards(t *testing.T) {
	table := archTable(t)
	tests := []struct {
		arch, wildcard string
		want           bool
	}{
		{"amd64", "amd64", true},
		{"amd64", "i386", false},
		{"amd64", "any", true},
		{"amd64", "all", false},
		{"amd64", "linux-any", true},
		{"amd64", "any-amd64", true},
		{"x32", "any-amd64", true},
		{"amd64", "any-i386", false},
		{"i386", "any-i386", true},
		{"armhf", "any-arm", true},
		{"armhf", "linux-any", true},
		{"armhf", "gnu-any-any", true},
		{"armhf", "eabihf-any-any-any", true},
		{"armel", "eabihf-any-any-any", false},
		{"musl-linux-amd64", "musl-any-any", true},
		{"musl-linux-amd64", "linux-any", true},
		{"hurd-i386", "linux-any", false},
		{"hurd-i386", "hurd-any", true},
		{"amd64", "linux-amd64", true},
		{"linux-amd64", "amd64", true},
		{"amd64", "AMD64", false},
		{"amd64", "any-any-any-any-any", false},
		{"amd64", "", false},
		{"nonesuch", "any", false},
		{"nonesuch", "nonesuch", false},
	}
	for _, tt := range tests {
		t.Run(tt.arch+" is "+tt.wildcard, func(t *testing.T) {
			if got := table.Matches(tt.arch, tt.wildcard); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestLoadArchTableNeedsBothTables(t *testing.T) {
	dir := t.TempDir()
	if _, err := depwait.LoadArchTable(dir); err == nil {
		t.Error("no error without cputable")
	}
	if err := os.WriteFile(filepath.Join(dir, "cputable"), []byte("amd64 x86_64 x 64 little\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := depwait.LoadArchTable(dir); err == nil {
		t.Error("no error without tupletable")
	}
	if err := os.WriteFile(filepath.Join(dir, "tupletable"), []byte("# nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := depwait.LoadArchTable(dir); err == nil {
		t.Error("no error for an empty tupletable")
	}
}

// TestArchTableAgreesWithDpkg compares with what dpkg says about its own table.
func TestArchTableAgreesWithDpkg(t *testing.T) {
	program, err := exec.LookPath("dpkg-architecture")
	if err != nil {
		t.Skipf("needs dpkg-architecture, to compare with: %v", err)
	}
	table, err := depwait.LoadArchTable("/usr/share/dpkg")
	if err != nil {
		t.Skipf("needs the tables of dpkg, to compare with: %v", err)
	}
	// In the build of a package, dpkg's own variables would answer.
	environment := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "DEB_") })
	// Each question costs some 30 ms.
	archs := []string{"amd64", "armhf", "riscv64", "x32", "hurd-i386", "nonesuch"}
	wildcards := []string{
		"any", "linux-any", "any-amd64", "any-arm", "gnu-any-any", "linux-amd64", "eabihf-any-any-any", "any-any-any-any-any",
	}
	for _, arch := range archs {
		for _, wildcard := range wildcards {
			// #nosec G204 -- the program is dpkg's, the words are above
			cmd := exec.CommandContext(t.Context(), program, "-a"+arch, "-i"+wildcard)
			cmd.Env = environment
			want := cmd.Run() == nil
			if got := table.Matches(arch, wildcard); got != want {
				t.Errorf("%s is %s: got %v, dpkg says %v", arch, wildcard, got, want)
			}
		}
	}
}
