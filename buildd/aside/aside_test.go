package aside_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"lpbuildd/buildd/aside"
)

func TestTheNewestOfAFewHasTheShortestName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	for i := range 8 {
		if err := os.WriteFile(path, fmt.Append(nil, i), 0o600); err != nil {
			t.Fatal(err)
		}
		to, err := aside.Move(path)
		if err != nil || to != path+".damaged" {
			t.Fatal(to, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("it is still there: %v", err)
		}
	}
	for name, want := range map[string]string{"": "7", ".1": "6", ".4": "3"} {
		if got, err := os.ReadFile(path + ".damaged" + name); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 5 {
		t.Errorf("there are %v, %v", entries, err)
	}
}

func TestACopyStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := aside.Copy(path)
	for _, p := range []string{path, to} {
		if got, readErr := os.ReadFile(p); err != nil || readErr != nil || string(got) != "text" {
			t.Errorf("%s: %q, %v, %v", p, got, err, readErr)
		}
	}
}

func TestOnlyWhatIsNoFileIsOdd(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		make func(path string) error
		odd  bool
	}{
		"nothing":           {func(string) error { return nil }, false},
		"a file":            {func(path string) error { return os.WriteFile(path, nil, 0o600) }, false},
		"a folder":          {func(path string) error { return os.MkdirAll(filepath.Join(path, "full"), 0o700) }, true},
		"a link to a file":  {func(path string) error { return os.Symlink("/etc/passwd", path) }, true},
		"a link to nowhere": {func(path string) error { return os.Symlink("nowhere", path) }, true},
	} {
		path := filepath.Join(dir, name)
		if err := c.make(path); err != nil {
			t.Fatal(err)
		}
		if odd, err := aside.MoveOdd(path); odd != c.odd || err != nil {
			t.Errorf("%s: %v, %v", name, odd, err)
		}
		if _, err := os.Lstat(path + ".damaged"); (err == nil) != c.odd {
			t.Errorf("%s: set aside: %v", name, err)
		}
	}
}
