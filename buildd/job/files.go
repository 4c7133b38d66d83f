package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// temporary is how WriteFile calls a file that is not complete yet.
const temporary = ".tmp-*"

// RemoveTemporaries deletes what WriteFile left in a folder when its process
// was killed. Nobody may write files there meanwhile.
func RemoveTemporaries(dir string) error {
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		if match, err := filepath.Match(temporary, e.Name()); match && err == nil {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// WriteFile replaces a file by the JSON of v so that a crash leaves the old
// one or the new one, and returns when it is on disk. The file can be read by
// its owner only, who is the owner of the folder. On a full disk it takes the
// place of the folder's reserve, if there is one (MakeReserve).
func WriteFile(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	err = replace(path, data)
	if errors.Is(err, unix.ENOSPC) && os.Remove(filepath.Join(filepath.Dir(path), ReserveName)) == nil {
		err = replace(path, data)
	}
	return err
}

// reserveBytes is more than any state of a builder takes.
const reserveBytes = 1 << 20

// MakeReserve sets room on the disk aside, for later calls of WriteFile in this
// folder. One that is there already is left alone, unless a crash has left it
// without the room.
func MakeReserve(dir string) error {
	path := filepath.Join(dir, ReserveName)
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && info.Size() < reserveBytes {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path is the daemon's own
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

// replace writes a temporary file and renames it.
func replace(path string, data []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, giveToOwnerOf(f, filepath.Dir(path)), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// mostBytes is more than any file of WriteFile has.
const mostBytes = 256 << 20

// ReadFile reads a file that WriteFile wrote. What is there instead, a folder or
// a pipe, is an error and not waited for.
func ReadFile(path string, v any) error {
	data, err := readRegular(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

func readRegular(path string) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("cannot read %s: it is no file", path)
	case info.Size() > mostBytes:
		return nil, fmt.Errorf("cannot read %s: it has %d bytes", path, info.Size())
	}
	return io.ReadAll(io.LimitReader(f, mostBytes))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// giveToOwnerOf lets the unprivileged daemon read what a supervisor, which is
// root, writes for it.
func giveToOwnerOf(f *os.File, dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}

// BootID tells one start of the machine from all others. LXD and Incus give each
// start of a container its own.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
