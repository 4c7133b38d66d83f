package leftovers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/state"
)

// Discard moves a path into the trash of the state folder, to be deleted later; one on
// another file system is deleted at once. Nothing is mounted below it any more: mounts
// end with the namespace that they were made in.
func Discard(ctx context.Context, folder state.Folder, path string) error {
	trash := folder.Trash()
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	err := os.Rename(path, filepath.Join(trash, uuid.NewString()))
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EXDEV):
		return chroot.RemoveTree(ctx, path)
	}
	return fmt.Errorf("cannot remove %s: %w", path, err)
}
