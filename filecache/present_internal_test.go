package filecache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// waitForLaterChanges waits until the clock of the file system, which is a coarse
// one, is ahead of the last change of a file.
func waitForLaterChanges(t *testing.T, path string) {
	t.Helper()
	changed := func(path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fingerprintOf(info).changed
	}
	probe := filepath.Join(t.TempDir(), "probe")
	for last := changed(path); ; {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(probe, 0o644); err != nil {
			t.Fatal(err)
		}
		if changed(probe) > last {
			return
		}
	}
}

// TestAnEntryIsHashedOnceAfterEachChange of its inode, also after one that does not
// touch the content, such as a mode or a link of our own.
func TestAnEntryIsHashedOnceAfterEachChange(t *testing.T) {
	rot := func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		// Neither the size nor the time of modification tells.
		return errors.Join(os.WriteFile(path, []byte("CONTENT"), 0), os.Chtimes(path, info.ModTime(), info.ModTime()))
	}
	for _, test := range []struct {
		name   string
		change func(path string) error
		there  bool
	}{
		{"a new mode", func(path string) error { return os.Chmod(path, 0o640) }, true},
		{"a hard link", func(path string) error { return os.Link(path, filepath.Join(filepath.Dir(path), "link")) }, true},
		{"other content of the same time and size", rot, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := openInternal(t, Options{})
			s, err := c.Store(t.Context(), strings.NewReader("content"))
			if err != nil {
				t.Fatal(err)
			}
			look := func(want bool) {
				t.Helper()
				if _, trusted, err := c.store.look(s.SHA1); trusted != want || err != nil {
					t.Errorf("trusted: %v, %v", trusted, err)
				}
			}
			look(true)
			waitForLaterChanges(t, filepath.Join(c.folder.dir, s.SHA1))
			if err := test.change(filepath.Join(c.folder.dir, s.SHA1)); err != nil {
				t.Fatal(err)
			}
			look(false)
			for range 2 {
				if there, err := c.Present(t.Context(), s.SHA1); there != test.there || err != nil {
					t.Errorf("present: %v, %v", there, err)
				}
				look(test.there)
			}
		})
	}
}
