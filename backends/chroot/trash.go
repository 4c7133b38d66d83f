package chroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// discard is Discard for a folder in which something may still be mounted; that is
// an error. Without a trash it is deleted at once.
func discard(ctx context.Context, path, trash string) error {
	mounts, err := mountsBelow(path)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("cannot remove %s: %s is mounted", path, mounts[0])
	}
	if trash == "" {
		return RemoveTree(ctx, path)
	}
	return Discard(ctx, path, trash)
}

// Discard makes a folder vanish from its place: at once into the trash when that is
// on the same file system, else by deleting it. Nothing may be mounted in it. A
// missing one is fine.
func Discard(ctx context.Context, path, trash string) error {
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot make the trash folder: %w", err))
	}
	err := os.Rename(path, filepath.Join(trash, uuid.NewString()))
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EXDEV):
		return RemoveTree(ctx, path)
	}
	return verdict.MarkHostFault(fmt.Errorf("cannot remove %s: %w", path, err))
}

// EmptyTrash deletes what Remove and the eviction of images have left in the
// trash. Several processes may do so at once. A missing folder is fine; what
// cannot be deleted does not keep the rest.
func EmptyTrash(ctx context.Context, trash string) error {
	entries, err := os.ReadDir(trash)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot empty the trash: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		errs = append(errs, RemoveTree(ctx, filepath.Join(trash, e.Name())))
	}
	return errors.Join(errs...)
}
