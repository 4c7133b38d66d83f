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

// withReserve gives up the reserve of a folder for what the disk is too full for.
func withReserve(dir string, write func() error) error {
	err := write()
	if errors.Is(err, unix.ENOSPC) && os.Remove(filepath.Join(dir, ReserveName)) == nil {
		err = write()
	}
	return err
}
