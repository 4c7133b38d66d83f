package chroot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

const (
	// keptDir is the build directory of a chroot in the folder that it was kept
	// in.
	keptDir = "build"
	// baseLink is a second link, in that folder, to the lock of the unpacked image
	// below the overlay. While there is one, nobody deletes the image.
	baseLink = "base.lock"
	// busyTime is how long to wait for the end of an earlier mount.
	busyTime = time.Minute
)

// KeptBuildDir is where Keep puts the build directory: the BuildDir of a chroot
// that is to be resumed.
func KeptBuildDir(dir string) string { return filepath.Join(dir, keptDir) }

// Keep makes the chroot outlive its build in a folder, which must exist on the
// file system of RootsDir and be root's alone. Processes must be gone. The
// paths in unwanted are deleted in the chroot. What is in memory, or on another
// file system, is copied if there is room for it. The result names the
// image below the overlay, which stays as long as the folder does; "" without
// an overlay.
//
// After an error Remove can be called as always, and the folder is to be
// deleted.
func (c *Chroot) Keep(ctx context.Context, dir string, unwanted []string, room disk.Room) (base string, err error) {
	for _, name := range unwanted {
		if err := c.erase(ctx, name); err != nil {
			return "", fmt.Errorf("cannot delete %s in the chroot: %w", name, err)
		}
	}
	if err := c.unmountAll(ctx, room); err != nil {
		return "", err
	}
	if c.base != nil {
		if base, err = c.base.outlive(filepath.Join(dir, baseLink)); err != nil {
			return "", err
		}
	}
	if err := c.move(ctx, KeptBuildDir(dir), room); err != nil {
		return "", err
	}
	if c.base != nil {
		err = c.base.release()
		c.base = nil
	}
	return base, err
}

// erase deletes a path in the chroot, and what is below it. A missing one is
// fine.
func (c *Chroot) erase(ctx context.Context, name string) error {
	parent, err := openInRoot(c.Root(), path.Dir(name), unix.O_RDONLY|unix.O_DIRECTORY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	return removeTop(ctx, parent, path.Base(name))
}

// unmountAll ends all mounts; the upper layer is on disk then.
func (c *Chroot) unmountAll(ctx context.Context, room disk.Room) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	mounts, err := mountsBelow(c.cfg.BuildDir)
	if err != nil {
		return err
	}
	saved := c.cfg.layers() + ".saved"
	inMemory := slices.Contains(mounts, c.cfg.layers())
	if inMemory {
		if err := c.copyTree(ctx, c.cfg.layers(), saved, room); err != nil {
			return err
		}
	}
	if err := unmount(ctx, c.cfg, c.cfg.BuildDir); err != nil {
		return err
	}
	if inMemory {
		return errors.Join(os.Remove(c.cfg.layers()), os.Rename(saved, c.cfg.layers()))
	}
	return nil
}

// move moves the build directory.
func (c *Chroot) move(ctx context.Context, to string, room disk.Room) error {
	err := os.Rename(c.cfg.BuildDir, to)
	if errors.Is(err, unix.EXDEV) {
		err = c.copyTree(ctx, c.cfg.BuildDir, to, room)
		if err == nil {
			err = discard(ctx, c.cfg.BuildDir, c.cfg.TrashDir)
		}
	}
	if err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot move the chroot: %w", err))
	}
	return nil
}

// copyTree copies a folder with everything that an overlay keeps in it.
func (c *Chroot) copyTree(ctx context.Context, from, to string, room disk.Room) error {
	used := diskUsage(from)
	if left := room.Lacks(used); left != "" {
		return fmt.Errorf("%d MiB in %d files would have to be copied, and there is room for %s", used.Bytes>>20, used.Inodes, left)
	}
	var said bytes.Buffer
	err := c.host.Run(ctx, backends.Command{Argv: []string{"cp", "-a", "--one-file-system", "-T", "--", from, to}, Stderr: &said})
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w: %s", from, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// Resume mounts a chroot that was kept, with the base that Keep has returned,
// and makes it ready to run commands. Only one process may do so at a time;
// the mounts are those of its namespace.
func (c *Chroot) Resume(ctx context.Context, base string) error {
	if base != "" {
		if err := c.remount(ctx, base); err != nil {
			return err
		}
	}
	return c.Start(ctx)
}

// remount mounts the overlay again.
func (c *Chroot) remount(ctx context.Context, base string) error {
	r, err := rootCache{dir: c.cfg.RootsDir}.reuse(base)
	if err != nil {
		return err
	}
	c.base = r
	upper, work := filepath.Join(c.cfg.layers(), "upper"), filepath.Join(c.cfg.layers(), "work")
	if err := renewWork(ctx, work); err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot mount the chroot again: %w", err))
	}
	return mountAgain(ctx, c.Root(), r.path(), upper, work)
}

// mountAgain mounts layers that were mounted before. It waits for the end of the
// other mount: that is gone a little later than the lock of the last visitor.
func mountAgain(ctx context.Context, target, lower, upper, work string) error {
	ctx, cancel := context.WithTimeout(ctx, busyTime)
	defer cancel()
	for {
		err := mountLayers(target, lower, upper, work)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lockPoll):
		}
	}
}

// renewWork makes a work directory usable once more: an upper layer that was
// "volatile" cannot be mounted with what the kernel has left there. Only the
// index stays, which knows the hard links. It names the upper layer by a handle,
// which is another one after a copy; the kernel writes it anew.
func renewWork(ctx context.Context, work string) error {
	if err := RemoveTree(context.WithoutCancel(ctx), filepath.Join(work, "work")); err != nil {
		return err
	}
	err := unix.Removexattr(filepath.Join(work, "index"), "trusted.overlay.upper")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODATA) {
		return nil // it was mounted without an index
	}
	return err
}

// OpenTerminal opens the side of a new terminal in the chroot from which it is
// driven. The chroot must be started.
func (c *Chroot) OpenTerminal() (*os.File, error) {
	found, err := openInRoot(c.Root(), "/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("cannot make a terminal in the chroot: %w", err)
	}
	return found, nil
}
