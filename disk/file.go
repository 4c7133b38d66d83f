package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// temporary is how WriteJSON calls a file that is not complete yet.
const temporary = ".tmp-*"

// RemoveTemporaries deletes what WriteJSON left in a folder when its process
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

// WriteJSON replaces a file by the JSON of v so that a crash leaves the old
// one or the new one, and returns when it is on disk. The file can be read by
// its owner only, who is the owner of the folder. On a full disk it takes the
// place of the folder's reserve, if there is one (MakeReserve).
func WriteJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot encode %s: %w", path, err)
	}
	return withReserve(filepath.Dir(path), func() error { return replace(path, data) })
}

// replace writes a temporary file and renames it.
func replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, giveToOwnerOf(f, dir), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
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

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error { return Sync(os.Open(dir)) }

// Sync brings to the disk what was opened, a file or a folder, and closes it.
func Sync(f *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mostBytes is more than any file of WriteJSON has.
const mostBytes = 256 << 20

// ReadJSON reads a file that WriteJSON wrote.
func ReadJSON(path string, v any) error {
	if info, err := os.Lstat(path); err == nil && info.Size() > mostBytes {
		return tooLarge(path, mostBytes)
	}
	data, err := ReadFile(path, mostBytes)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	return nil
}

// ReadFile reads a file of at most so many bytes. What is there instead, a link, a
// folder or a pipe, is an error and not waited for. An error comes with what could
// be read.
func ReadFile(path string, most int64) (data []byte, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return ReadOpen(f, most)
}

// ReadOpen is ReadFile for a file that is open.
func ReadOpen(f *os.File, most int64) ([]byte, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("cannot read %s: it is no file", f.Name())
	}
	room := min(info.Size(), most) + bytes.MinRead // it is read in one piece, whatever its size
	data := bytes.NewBuffer(make([]byte, 0, room))
	_, err = data.ReadFrom(io.LimitReader(f, most+1))
	if err == nil && int64(data.Len()) > most {
		return data.Bytes()[:most], tooLarge(f.Name(), most)
	}
	return data.Bytes(), err
}

func tooLarge(path string, most int64) error {
	return fmt.Errorf("cannot read %s: it is larger than %d bytes", path, most)
}
