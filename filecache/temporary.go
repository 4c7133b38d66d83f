package filecache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"lpbuildd/disk"
)

// temporaries are the files that are not yet entries: those of this process,
// and what dead ones have left.
type temporaries struct {
	folder *folder
	log    *slog.Logger
}

// temporary is a file that is not yet an entry. It is locked as long as it is
// open, so that CleanTemporaries can tell it from one whose writer died.
type temporary struct {
	*sums
	of   *temporaries
	file *os.File
	path string
}

// create makes an empty one.
func (ts *temporaries) create() (*temporary, error) {
	for {
		t := &temporary{sums: newSums(), of: ts, path: ts.newPath()}
		var err error
		t.file, err = ts.folder.create(t.path)
		if err != nil {
			return nil, fmt.Errorf("cannot make a temporary file in the cache: %w", err)
		}
		if locked, err := t.lock(); locked || err != nil {
			return t, err
		}
	}
}

// newPath is where nothing is yet.
func (*temporaries) newPath() string { return tmpName + "/" + strings.ToLower(rand.Text()) }

// eachStale calls do for each temporary that nobody writes.
func (ts *temporaries) eachStale(do func(path string, info fs.FileInfo) error) error {
	err := ts.folder.each(tmpName, func(e fs.DirEntry) error {
		path := tmpName + "/" + e.Name()
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return do(path, info)
		}
		f, err := ts.folder.root.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, fs.ErrPermission):
			// A process of root's died before the file belonged to the owner of the
			// cache. One that lives sees that the file is gone, and makes another.
			return do(path, info)
		case err != nil:
			return err
		}
		if err := disk.LockOpen(f); err != nil {
			return f.Close()
		}
		return errors.Join(do(path, info), f.Close())
	})
	return errors.Join(err, ts.eachOld(do))
}

// eachOld calls do for each of the temporaries with fixed names of spec:
// protocol.md section 10.
func (ts *temporaries) eachOld(do func(path string, info fs.FileInfo) error) error {
	return ts.folder.each(".", func(e fs.DirEntry) error {
		stem, ok := strings.CutSuffix(e.Name(), ".tmp")
		isOld := ok && e.Type().IsRegular() && (IsSHA1(stem) || stem == "storeFile")
		if !isOld {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return do(e.Name(), info)
	})
}

// remove deletes one that is stale.
func (ts *temporaries) remove(path string, info fs.FileInfo) error {
	if info.IsDir() {
		return ts.folder.root.RemoveAll(path)
	}
	return ts.folder.root.Remove(path)
}

// empty deletes a folder of files. What it leaves when the cache is closed are
// temporaries that nobody writes.
func (ts *temporaries) empty(folder string, isClosed func() bool) error {
	err := ts.folder.each(folder, func(e fs.DirEntry) error {
		if isClosed() {
			return nil
		}
		return ts.folder.root.Remove(folder + "/" + e.Name())
	})
	if err != nil || isClosed() {
		return err
	}
	return ts.folder.root.Remove(folder)
}

// lock is false if CleanTemporaries was quicker and removes, or has removed, the
// file.
func (t *temporary) lock() (bool, error) {
	err := disk.LockOpen(t.file)
	info, statErr := t.file.Stat()
	switch {
	case err == nil && statErr == nil && linked(info):
		return true, nil
	case statErr == nil && (err == nil || errors.Is(err, disk.ErrLocked)):
		t.discard()
		return false, nil
	}
	t.discard()
	return false, fmt.Errorf("cannot lock a temporary file in the cache: %w", errors.Join(err, statErr))
}

func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 0
}

// Write appends to the file, and hashes what it could append.
func (t *temporary) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	_, _ = t.sums.Write(p[:n])
	return n, err
}

// reset empties the file.
func (t *temporary) reset() error {
	t.sums = newSums()
	_, err := t.file.Seek(0, io.SeekStart)
	return errors.Join(err, t.file.Truncate(0))
}

// become gives the file the name of an entry, durably if a crash of the machine
// must not lose it, and returns what it is from then on.
func (t *temporary) become(name string, durable bool) (fs.FileInfo, error) {
	// The build user, who need not be the owner, reads the entries.
	err := t.file.Chmod(0o644)
	if err == nil && durable {
		err = t.file.Sync()
	}
	if err == nil {
		err = t.of.folder.root.Rename(t.path, name)
	}
	if err == nil && durable {
		err = t.of.folder.sync()
	}
	// Only now, as the new name has changed the inode.
	info, statErr := t.file.Stat()
	return info, errors.Join(err, statErr)
}

// discard closes the file, and removes it unless it became an entry.
func (t *temporary) discard() {
	err := t.of.folder.root.Remove(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, t.file.Close()); err != nil {
		t.of.log.Warn("cannot remove a temporary file of the cache", "error", err)
	}
}
