package chroot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// TryOverlay tells whether an overlay works whose lower layer is in one folder
// and whose upper layer is in another. It must be called as root. The mount is
// in a namespace of its own, and nothing is left.
func TryOverlay(ctx context.Context, lowerIn, upperIn string) error {
	lower, err := os.MkdirTemp(lowerIn, ".overlay-test-")
	if err != nil {
		return err
	}
	upper, err := os.MkdirTemp(upperIn, ".overlay-test-")
	if err != nil {
		return errors.Join(err, os.Remove(lower))
	}
	result := make(chan error)
	go func() {
		// The thread is not unlocked, so that it ends with this function, and the
		// namespace with it.
		runtime.LockOSThread()
		result <- tryLayers(lower, upper)
	}()
	err = <-result
	ctx = context.WithoutCancel(ctx)
	return errors.Join(err, RemoveTree(ctx, lower), RemoveTree(ctx, upper))
}

// tryLayers mounts an overlay in a new namespace of this thread, and looks
// whether it hides what is below.
func tryLayers(lower, dir string) error {
	sub := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"root", "upper", "work"} {
		if err := os.Mkdir(sub(name), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(lower, "file"), nil, 0o600); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cannot make mounts private: %w", err)
	}
	if err := mountLayers(sub("root"), lower, sub("upper"), sub("work")); err != nil {
		return err
	}
	err := os.Remove(filepath.Join(sub("root"), "file"))
	if err != nil {
		err = fmt.Errorf("cannot change a file in an overlay: %w", err)
	}
	return errors.Join(err, unix.Unmount(sub("root"), unix.UMOUNT_NOFOLLOW))
}
