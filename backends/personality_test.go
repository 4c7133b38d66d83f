package backends

import (
	"strings"
	"testing"
)

func TestPersonality(t *testing.T) {
	for _, tt := range []struct{ arch, series, want string }{
		{"i386", "trusty", "linux32"},
		{"amd64", "trusty", "linux64"},
		{"amd64", "precise", "linux64 --uname-2.6"},
		{"i386", "hardy", "linux32 --uname-2.6"},
		{"amd64", "", "linux64"},
		{"x32", "noble", "linux64"},
		{"armhf", "noble", "linux32"},
		{"armel", "noble", "linux32"},
		{"arm64", "noble", "linux64"},
		{"riscv64", "noble", "linux64"},
		{"s390x", "noble", "linux64"},
		{"ppc64el", "noble", "linux64"},
		{"powerpc", "precise", "linux32 --uname-2.6"},
		{"amd64v3", "noble", "linux64"},
		{"kfreebsd-amd64", "sid", "linux64"},
		{"hurd-i386", "sid", "linux32"},
		{"", "noble", ""},
	} {
		got, err := Personality(tt.arch, tt.series)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("%s of %s: got %q, %v, want %q", tt.arch, tt.series, got, err, tt.want)
		}
	}
	if got, err := Personality("nosuch", "noble"); err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("unknown architecture: got %q, %v", got, err)
	}
}

func TestLookupBits(t *testing.T) {
	table := []byte("# Version=1.0 " + strings.Repeat("x", 100_000) + "\namd64\tx86_64\t(amd64|x86_64)\t64\tlittle\nnew\tnew\tnew\t128\tlittle\n")
	if bits, ok := lookupBits(table, "amd64"); !ok || bits != "64" {
		t.Errorf("amd64: got %q", bits)
	}
	for _, cpu := range []string{"new", "#", "i386"} {
		if bits, ok := lookupBits(table, cpu); ok {
			t.Errorf("%s: got %q", cpu, bits)
		}
	}
}
