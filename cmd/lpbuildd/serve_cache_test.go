package main

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/config"
	"lpbuildd/filecache"
)

// A supervisor that is killed just when it has made a temporary file leaves one
// of root's in a folder of the daemon's, who may remove it but not open it; and
// somebody may have put a folder there.
func TestTheDaemonStartsBesideTemporariesThatAreNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	cache, err := filecache.Open(dir, filecache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
	left, folder := filepath.Join(dir, ".lpbuildd", "tmp", "left"), filepath.Join(dir, ".lpbuildd", "tmp", "folder")
	err = errors.Join(os.WriteFile(left, nil, 0o000), os.MkdirAll(filepath.Join(folder, "full"), 0o700), os.Chmod(folder, 0o000))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(folder, 0o700) }()
	if os.Geteuid() == 0 {
		asNobody(t, dir)
	}
	var log bytes.Buffer
	cache, err = openCache(config.Config{FileCache: dir}, slog.New(slog.NewTextHandler(&log, nil)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "tmp/folder") {
		t.Errorf("the log: %s", log.String())
	}
	if _, err := os.Lstat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

// asNobody makes the rest of a test look at files as a user who owns the folders
// below dir, but no file.
func asNobody(t *testing.T, dir string) {
	t.Helper()
	const nobody = 65534
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", ".lpbuildd", ".lpbuildd/tmp", ".lpbuildd/meta"} {
		if err := os.Chown(filepath.Join(dir, name), nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	runtime.LockOSThread()
	t.Cleanup(func() {
		_ = unix.Setfsuid(0) // cannot fail: this process is root
		runtime.UnlockOSThread()
	})
	if err := unix.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
}
