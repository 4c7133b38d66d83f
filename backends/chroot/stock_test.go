package chroot_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
)

// someStock is a stock with the unpacked images a (the newest), b, c and d, of
// which c is not complete.
func someStock(t *testing.T) chroot.Stock {
	t.Helper()
	dir := t.TempDir()
	s := chroot.Stock{RootsDir: filepath.Join(dir, "roots"), TrashDir: filepath.Join(dir, "trash"), MaxRoots: 1}
	for i, name := range []string{"a", "b", "c", "d"} {
		root := filepath.Join(s.RootsDir, name+".root")
		stockFile(t, filepath.Join(root, "chroot-autobuild/file"), 10_000)
		stockFile(t, filepath.Join(s.RootsDir, name+".lock"), 0)
		if name != "c" {
			stockFile(t, filepath.Join(root, "complete"), 0)
		}
		used := time.Now().Add(-time.Duration(i) * time.Hour)
		if err := os.Chtimes(filepath.Join(s.RootsDir, name+".lock"), used, used); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func stockFile(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

// lockStock locks an image as a build does.
func lockStock(t *testing.T, s chroot.Stock, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.RootsDir, name+".lock"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK}); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRootsAreListedWithWhatTheyTake(t *testing.T) {
	s := someStock(t)
	lock := lockStock(t, s, "d")
	roots, err := s.Roots()
	if err != nil {
		t.Fatal(err)
	}
	want := []chroot.StockRoot{{SHA1: "a"}, {SHA1: "b", Excess: true}, {SHA1: "c", Torn: true, Excess: true}, {SHA1: "d", InUse: true}}
	for i, r := range roots {
		if r.Bytes < 10_000 || r.Bytes > 100_000 || r.Used.IsZero() {
			t.Errorf("%+v", r)
		}
		r.Bytes, r.Used = 0, time.Time{}
		if i >= len(want) || r != want[i] {
			t.Errorf("%d is %+v", i, r)
		}
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if none, err := (chroot.Stock{RootsDir: "/nonexistent", TrashDir: "/nonexistent"}).Roots(); err != nil || len(none) > 0 {
		t.Errorf("without a folder: %+v, %v", none, err)
	}
}

func TestCollectLeavesWhatIsUsedAndWhatTheLimitsAllow(t *testing.T) {
	s := someStock(t)
	stockFile(t, filepath.Join(s.TrashDir, "old/file"), 5000)
	lock := lockStock(t, s, "d")
	defer func() { _ = lock.Close() }()
	gone, trash, err := s.Collect(t.Context())
	if err != nil || len(gone) != 2 || gone[0].SHA1 != "b" || gone[1].SHA1 != "c" || trash < 5000 {
		t.Errorf("gone are %+v and %d bytes of trash, %v", gone, trash, err)
	}
	left, _ := filepath.Glob(filepath.Join(s.RootsDir, "*"))
	if len(left) != 4 || s.Trash() != 0 {
		t.Errorf("left are %q, and %d bytes of trash", left, s.Trash())
	}
}

func TestRemoveRoot(t *testing.T) {
	s := someStock(t)
	lock := lockStock(t, s, "a")
	if _, err := s.RemoveRoot(t.Context(), "a"); !errors.Is(err, chroot.ErrInUse) {
		t.Errorf("in use: %v", err)
	}
	_ = lock.Close()
	if freed, err := s.RemoveRoot(t.Context(), "a"); err != nil || freed < 10_000 {
		t.Errorf("freed %d, %v", freed, err)
	}
	for _, missing := range []string{"a", "none"} {
		if freed, err := s.RemoveRoot(t.Context(), missing); err != nil || freed != 0 {
			t.Errorf("missing: %d, %v", freed, err)
		}
	}
	if _, err := s.RemoveRoot(t.Context(), "../trash"); err == nil {
		t.Error("a path is taken for a name")
	}
}
