package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lpbuildd/disk"
)

func TestWriteJSONReplacesAFileAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, value := range []string{"first", "second"} {
		if err := disk.WriteJSON(path, value); err != nil {
			t.Fatal(err)
		}
		var got string
		if err := disk.ReadJSON(path, &got); err != nil || got != value {
			t.Errorf("read %q, %v", got, err)
		}
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v: others could read it", info.Mode(), err)
	}
	expectNames(t, dir, "state.json")
}

func TestAFailedWriteKeepsTheOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := disk.WriteJSON(path, "old"); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteJSON(path, func() {}); err == nil {
		t.Error("a function was written as JSON")
	}
	var got string
	if err := disk.ReadJSON(path, &got); err != nil || got != "old" {
		t.Errorf("read %q, %v", got, err)
	}
	// A folder in its place cannot be replaced.
	if err := os.MkdirAll(filepath.Join(dir, "folder", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteJSON(filepath.Join(dir, "folder"), "new"); err == nil {
		t.Error("a folder was replaced")
	}
	expectNames(t, dir, "folder", "state.json")
}

func TestReadJSONNamesWhatItCannotRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte(`{"half`), 0o600); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := disk.ReadJSON(path, &v); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("half a file: %v", err)
	}
}

func TestRemoveTemporariesRemovesNothingElse(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".tmp-123", ".tmp-abc", "journal.json", "tmp", ".tmpfs"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := disk.RemoveTemporaries(dir); err != nil {
		t.Fatal(err)
	}
	expectNames(t, dir, ".tmpfs", "journal.json", "tmp")
	if err := disk.RemoveTemporaries(filepath.Join(dir, "nosuch")); err == nil {
		t.Error("a missing folder is no error")
	}
}

// expectNames compares the sorted names in a folder.
func expectNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
}

func TestAReserveHasItsRoom(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, disk.ReserveName)
	if err := os.WriteFile(path, []byte("as a crash leaves it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := disk.MakeReserve(dir); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
			t.Errorf("got %v, %v", info, err)
		}
	}
}

func TestOnlyAFullDiskIsNoBrokenOne(t *testing.T) {
	dir := t.TempDir()
	for name, try := range map[string]func(string) error{"write": disk.TryToWrite, "store": disk.TryToStore} {
		if err := try(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: it leaves %v, %v", name, entries, err)
		}
		// Nothing can be made there, by nobody.
		if err := try("/proc/self"); err == nil {
			t.Errorf("%s: it can be written", name)
		}
		if err := try(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a missing folder: %v", name, err)
		}
	}
}
