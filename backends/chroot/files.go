package chroot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// CopyIn implements backends.Target. The file appears at once and whole.
func (c *Chroot) CopyIn(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	if err := c.copyIn(ctx, content, name, mode); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return verdict.MarkHostFault(fmt.Errorf("cannot write %s in the chroot: %w", name, err))
	}
	return nil
}

func (c *Chroot) copyIn(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	base := path.Base(name)
	if !path.IsAbs(name) || base == "/" || base == ".." {
		return errors.New("it is not the absolute path of a file")
	}
	dir, err := openInRoot(c.Root(), path.Dir(name), unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	temp := ".lpbuildd-" + uuid.NewString()
	if err := writeNew(ctx, content, dir, temp, mode); err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), temp, 0)
		return err
	}
	if err := unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), base); err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), temp, 0)
		return err
	}
	return nil
}

// writeNew makes a new file of root in dir.
func writeNew(ctx context.Context, content io.Reader, dir *os.File, name string, mode fs.FileMode) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, &untilDone{ctx: ctx.Err, r: content}, make([]byte, 256<<10))
	return errors.Join(err, f.Chown(0, 0), f.Chmod(mode), f.Close())
}

// untilDone ends a copy when its context ends.
type untilDone struct {
	ctx func() error
	r   io.Reader
}

// Read implements io.Reader.
func (u *untilDone) Read(p []byte) (int, error) {
	if err := u.ctx(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

// CopyOut implements backends.Target. Anything but a regular file is an error.
func (c *Chroot) CopyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f, err := openRegular(c.Root(), name)
	if err != nil {
		return nil, verdict.MarkHostFault(fmt.Errorf("cannot read %s in the chroot: %w", name, err))
	}
	return f, nil
}

// openRegular opens a regular file for reading. It looks before it opens:
// opening a device or a pipe has effects.
func openRegular(root, name string) (*os.File, error) {
	if !path.IsAbs(name) {
		return nil, errors.New("it is not an absolute path")
	}
	found, err := openInRoot(root, name, unix.O_PATH)
	if err != nil {
		return nil, err
	}
	defer func() { _ = found.Close() }()
	st, err := found.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return os.Open(through(found))
}
