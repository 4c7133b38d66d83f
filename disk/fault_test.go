package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAFullDiskTakesTheReserve: once, and only for want of room.
func TestAFullDiskTakesTheReserve(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	for _, c := range []struct {
		name    string
		err     error // of each write but the last
		fails   int
		writes  int
		reserve bool // stays
		wantErr bool
	}{
		{"there is room", nil, 0, 1, true, false},
		{"the reserve is enough", full, 1, 2, false, false},
		{"the reserve is not enough", full, 2, 2, false, true},
		{"the disk is broken", unix.EIO, 1, 1, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := MakeReserve(dir); err != nil {
				t.Fatal(err)
			}
			writes := 0
			err := withReserve(dir, func() error {
				writes++
				if writes <= c.fails {
					return c.err
				}
				return nil
			})
			_, statErr := os.Lstat(filepath.Join(dir, ReserveName))
			if writes != c.writes || (err != nil) != c.wantErr || (statErr == nil) != c.reserve {
				t.Errorf("%d writes, %v; the reserve: %v", writes, err, statErr)
			}
		})
	}
	if err := withReserve(t.TempDir(), func() error { return full }); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("without a reserve: %v", err)
	}
}

// TestWriteJSONOnAFullDisk needs a disk of its own, and so root.
func TestWriteJSONOnAFullDisk(t *testing.T) {
	dir := smallDisk(t)
	path := filepath.Join(dir, "state.json")
	if err := errors.Join(WriteJSON(path, "old"), MakeReserve(dir)); err != nil {
		t.Fatal(err)
	}
	fill(t, dir)
	big := strings.Repeat("x", reserveBytes/2)
	if err := WriteJSON(path, big); err != nil {
		t.Fatalf("with a reserve: %v", err)
	}
	fill(t, dir)
	if err := WriteJSON(path, strings.Repeat("y", reserveBytes)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("without one: %v", err)
	}
	var got string
	if err := ReadJSON(path, &got); err != nil || got != big {
		t.Errorf("the old file: %d bytes, %v", len(got), err)
	}
	if err := MakeReserve(dir); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a reserve of nothing: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, temporary)); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	// It can be written again soon.
	if err := errors.Join(TryToWrite(dir), TryToStore(dir)); err != nil {
		t.Errorf("a full disk counts as broken: %v", err)
	}
}

// smallDisk is the folder of a file system of 4 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("cannot mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "filling"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyAFileIsRead: whatever else stands in its place is neither followed nor
// waited for.
func TestOnlyAFileIsRead(t *testing.T) {
	for name, plant := range map[string]func(path string) error{
		"a link":    func(path string) error { return os.Symlink("/etc/hostname", path) },
		"a folder":  func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":    func(path string) error { return unix.Mkfifo(path, 0o600) },
		"too much":  func(path string) error { return os.WriteFile(path, []byte("12345"), 0o600) },
		"a big one": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		path := filepath.Join(t.TempDir(), "file")
		if err := plant(path); err != nil {
			t.Fatal(err)
		}
		if data, err := ReadFile(path, 4); err == nil || !strings.Contains(err.Error(), path) || len(data) > 4 {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	path := filepath.Join(t.TempDir(), "file")
	if _, err := ReadFile(path, 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if err := os.WriteFile(path, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(path, 4); err != nil || string(data) != "1234" {
		t.Errorf("all of it: %q, %v", data, err)
	}
}

// TestWriteJSONDoesNotFollow: a link in place of the file is replaced, what it leads
// to stays.
func TestWriteJSONDoesNotFollow(t *testing.T) {
	dir := t.TempDir()
	outside, path := filepath.Join(dir, "outside"), filepath.Join(dir, "state.json")
	if err := errors.Join(os.WriteFile(outside, []byte("precious"), 0o600), os.Symlink(outside, path)); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(path, 7); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Lstat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v, %v", info, err)
	}
}

// TestWhatRootWritesIsItsReaders: the supervisor is root, the daemon is not.
func TestWhatRootWritesIsItsReaders(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "outcome.json")
	if err := errors.Join(os.Chown(dir, 1, 2), WriteJSON(path, 7)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 1 || st.Gid != 2 {
		t.Errorf("it is that of %d:%d, %v", st.Uid, st.Gid, err)
	}
}

// TestADiskThatCannotBeWrittenIsTold needs a disk of its own, and so root.
func TestADiskThatCannotBeWrittenIsTold(t *testing.T) {
	dir := smallDisk(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for name, try := range map[string]func(string) error{"write": TryToWrite, "store": TryToStore, "reserve": MakeReserve} {
		if err := try(dir); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := WriteJSON(filepath.Join(dir, "x"), 7); !errors.Is(err, unix.EROFS) {
		t.Errorf("a file: %v", err)
	}
}
