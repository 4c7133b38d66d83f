package disk

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

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
