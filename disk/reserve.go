package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ReserveName is the file of a folder that is room on the disk, which WriteJSON
// uses up when there is none left.
const ReserveName = "reserve"

// reserveBytes is more than any state of a builder takes.
const reserveBytes = 1 << 20

// MakeReserve sets room on the disk aside, for later calls of WriteJSON in this
// folder. One that is there already is left alone, unless a crash has left it
// without the room.
func MakeReserve(dir string) error {
	path := filepath.Join(dir, ReserveName)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() < reserveBytes {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, reserveBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		_, err = f.Write(make([]byte, reserveBytes))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// TryToWrite says whether files can be made in a folder. Folders that are full can
// be written to again, as a rule soon; that is no error.
func TryToWrite(dir string) error { return tryToWrite(dir, func(*os.File) error { return nil }) }

// TryToStore is TryToWrite that also brings something to the disk, and waits for
// that: a broken disk may only tell then.
func TryToStore(dir string) error {
	return tryToWrite(dir, func(f *os.File) error {
		_, err := f.Write(make([]byte, 4096))
		if err == nil {
			err = f.Sync()
		}
		return err
	})
}

func tryToWrite(dir string, use func(*os.File) error) error {
	f, err := newNameless(dir)
	if err == nil {
		err = errors.Join(use(f), f.Close())
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}

// newNameless makes a file without a name, which is none that a crash could leave,
// where the file system can.
func newNameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	switch {
	case err == nil:
		return os.NewFile(uintptr(fd), dir), nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		f, err := os.CreateTemp(dir, temporary)
		if err != nil {
			return nil, err
		}
		if err := os.Remove(f.Name()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
	return nil, &fs.PathError{Op: "make a file in", Path: dir, Err: err}
}
