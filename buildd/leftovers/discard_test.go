package leftovers

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
)

// TestAFolderOnAnotherDiskIsDeleted, whatever the build has done to its files.
func TestAFolderOnAnotherDiskIsDeleted(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "lpbuildd-test-")
	if err != nil {
		t.Skipf("needs another file system: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(other) })
	home := filepath.Join(t.TempDir(), "build-B-1")
	file := filepath.Join(home, "folder", "file")
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, unix.STATX_ATTR_IMMUTABLE); err != nil {
		t.Logf("not immutable, which needs root and a file system with attributes: %v", err)
	}
	if err := errors.Join(f.Close(), Discard(t.Context(), state.Folder(other), home)); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
