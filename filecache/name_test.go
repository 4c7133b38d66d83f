package filecache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/filecache"
)

func TestNamesOfEntries(t *testing.T) {
	good := []string{
		"4cf5c74b448bf6e283631f7f8850eb4fae02e211", "4CF5C74B448BF6E283631F7F8850EB4FAE02E211",
		"fake-chroot", "thing", ".dsc", "...", "a b", "ü", "tmp", "buildlog2", strings.Repeat("x", 255),
	}
	for _, name := range good {
		if err := filecache.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	bad := []string{
		"", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\x00b", "a\nb", "a\x7f", "\xff", strings.Repeat("x", 256),
		".lpbuildd", ".lpbuildd-x", "x.tmp", ".tmp", "storeFile.tmp", "buildlog", "buildlog.unsanitized",
	}
	for _, name := range bad {
		err := filecache.CheckName(name)
		if err == nil {
			t.Errorf("%q is accepted", name)
			continue
		}
		if strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("the error for %q is not one line: %q", name, err)
		}
	}
}

// The law: what CheckName accepts is a direct child of the folder.
func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"", "..", "a/../b", "x.tmp", "\xff", "4cf5c74b448bf6e283631f7f8850eb4fae02e211"} {
		f.Add(s)
	}
	c := open(f, f.TempDir(), filecache.Options{})
	f.Fuzz(func(t *testing.T, name string) {
		path, err := c.Path(name)
		if (err == nil) != (filecache.CheckName(name) == nil) {
			t.Fatalf("Path and CheckName disagree about %q", name)
		}
		if err != nil {
			return
		}
		if filepath.Dir(path) != c.Dir() || filepath.Base(path) != name || path == c.StateDir() {
			t.Fatalf("%q becomes %q", name, path)
		}
	})
}

func TestSeedsAreThere(t *testing.T) {
	for _, target := range []string{"FuzzCheckName", "FuzzServedPath", "FuzzRanges"} {
		found, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		if err != nil || len(found) == 0 {
			t.Errorf("no seeds for %s: %v", target, err)
		}
	}
}
