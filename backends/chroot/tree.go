package chroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// maxDepth is how deep folders are entered; deeper ones are first moved up, as
// each level takes a file descriptor and a build can nest without end.
const maxDepth = 100

// tree deletes one folder and everything in it, on one file system.
type tree struct {
	top *os.File
	dev uint64
}

// RemoveTree deletes a folder, or whatever is at path. It follows no symbolic
// link and never enters another file system. A missing path is fine.
func RemoveTree(ctx context.Context, path string) error {
	mounts, err := mountsBelow(path)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("cannot delete %s: %s is mounted", path, mounts[0])
	}
	parent, err := os.Open(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot delete %s: %w", path, err)
	}
	defer func() { _ = parent.Close() }()
	err = removeTop(ctx, parent, filepath.Base(path))
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot delete %s: %w", path, err)
	}
	return err
}

func removeTop(ctx context.Context, parent *os.File, name string) error {
	top, err := openFolder(parent, name)
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return unlink(parent, name, 0)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = top.Close() }()
	t := tree{top: top}
	if t.dev, err = device(top); err != nil {
		return err
	}
	// Folders that were moved up during a pass are left for the next one.
	for {
		moved, err := t.empty(ctx, top, 0)
		if err != nil {
			return err
		}
		if !moved {
			return unlink(parent, name, unix.AT_REMOVEDIR)
		}
	}
}

// empty deletes what is in dir and tells whether it moved something to the
// top.
func (t *tree) empty(ctx context.Context, dir *os.File, depth int) (moved bool, err error) {
	if _, err := dir.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	for {
		entries, err := dir.ReadDir(1000)
		// Another process may delete the same tree, and have deleted this folder.
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return moved, nil
		}
		if err != nil {
			return moved, err
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				return moved, context.Cause(ctx)
			}
			m, err := t.remove(ctx, dir, e, depth)
			if err != nil {
				return moved, fmt.Errorf("%s: %w", e.Name(), err)
			}
			moved = moved || m
		}
	}
}

// remove deletes one entry of dir.
func (t *tree) remove(ctx context.Context, dir *os.File, e os.DirEntry, depth int) (moved bool, err error) {
	if !e.IsDir() {
		return false, unlink(dir, e.Name(), 0)
	}
	if depth == maxDepth {
		err := unix.Renameat(int(dir.Fd()), e.Name(), int(t.top.Fd()), uuid.NewString())
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return true, err
	}
	sub, err := openFolder(dir, e.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = sub.Close() }()
	if dev, err := device(sub); err != nil || dev != t.dev {
		return false, errors.Join(err, errors.New("another file system is mounted on it"))
	}
	if moved, err = t.empty(ctx, sub, depth+1); err != nil {
		return moved, err
	}
	return moved, unlink(dir, e.Name(), unix.AT_REMOVEDIR)
}

func openFolder(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func device(f *os.File) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st.Dev, err
}

// unlink deletes one name, which may be gone already. Files that a build made
// immutable (chattr +i) are made mutable first.
func unlink(dir *os.File, name string, flags int) error {
	err := unix.Unlinkat(int(dir.Fd()), name, flags)
	if errors.Is(err, unix.EPERM) {
		clearFlags(dir)
		if fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err == nil {
			f := os.NewFile(uintptr(fd), name)
			clearFlags(f)
			_ = f.Close()
		}
		err = unix.Unlinkat(int(dir.Fd()), name, flags)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// clearFlags takes away all attributes; where that fails, so does the unlink.
func clearFlags(f *os.File) { _ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, 0) }
