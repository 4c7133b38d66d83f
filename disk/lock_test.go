package disk_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/disk"
)

func TestOneHoldsALock(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "lock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, take := range map[string]func(string) (*disk.Lock, error){dir: disk.LockFolder, file: disk.LockFile} {
		lock, err := take(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := take(path); !errors.Is(err, disk.ErrLocked) {
			t.Errorf("a second lock of %s: %v", path, err)
		}
		if held, err := disk.Locked(path); !held || err != nil {
			t.Errorf("%s: held %v, %v", path, held, err)
		}
		if err := lock.Close(); err != nil {
			t.Error(err)
		}
		if held, err := disk.Locked(path); held || err != nil {
			t.Errorf("%s: still held %v, %v", path, held, err)
		}
		if lock, err = take(path); err != nil {
			t.Errorf("after the first has ended: %v", err)
		}
		_ = lock.Close()
	}
	if err := (*disk.Lock)(nil).Close(); err != nil {
		t.Errorf("no lock: %v", err)
	}
}

// TestALockIsNotFollowedElsewhere: whoever owns the folder around could lead root
// to any file.
func TestALockIsNotFollowedElsewhere(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.LockFolder(link); err == nil {
		t.Error("a link to a folder was locked")
	}
	if _, err := disk.LockFile(link); err == nil {
		t.Error("a link was locked")
	}
	for _, take := range []func(string) (*disk.Lock, error){disk.LockFolder, disk.LockFile} {
		if _, err := take(filepath.Join(dir, "nosuch")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there: %v", err)
		}
	}
}

func TestASharedLockIsTurned(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *disk.SharedLock {
		l, err := disk.OpenSharedLock(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	a, b := open(), open()
	if disk.Shared(path) {
		t.Error("held before anybody took it")
	}
	if err := errors.Join(a.Own(), a.Own()); err != nil {
		t.Fatal(err)
	}
	if err := b.Share(); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("shared with one who has it alone: %v", err)
	}
	if err := errors.Join(a.Share(), b.Share()); err != nil {
		t.Errorf("two who share: %v", err)
	}
	if err := a.Own(); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("alone beside another: %v", err)
	}
	if !disk.Shared(path) {
		t.Error("nobody holds what two share")
	}
	if err := errors.Join(b.Close(), a.Own()); err != nil {
		t.Errorf("alone when the other has gone: %v", err)
	}
	if n := a.Names(); n != 1 {
		t.Errorf("%d names", n)
	}
	if err := os.Link(path, path+".2"); err != nil || a.Names() != 2 {
		t.Errorf("%d names, %v", a.Names(), err)
	}
	if err := errors.Join(os.Remove(path), os.Remove(path+".2")); err != nil || a.Names() != 0 {
		t.Errorf("%d names of a deleted file, %v", a.Names(), err)
	}
	if disk.Shared(path) {
		t.Error("a file that is not there is held")
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		first, err := disk.LockFolder(dir)
		if err != nil {
			t.Fatal(err)
		}
		take := func() (*disk.Lock, error) { return disk.LockFolder(dir) }
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("the minute is over"))
		defer cancel()
		began := time.Now()
		if _, err := disk.Await(ctx, time.Second, take); err == nil || err.Error() != "the minute is over" || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.AfterFunc(90*time.Second, func() { _ = first.Close() })
		began = time.Now()
		second, err := disk.Await(t.Context(), time.Second, take)
		if err != nil || time.Since(began) > 92*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		_ = second.Close()
		if _, err := disk.Await(t.Context(), time.Second, func() (*disk.Lock, error) { return disk.LockFolder(dir + "/nosuch") }); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is not there is waited for: %v", err)
		}
	})
}
