package supervisor

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
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
)

// Cleanup kills the supervisor whose folder is the working directory, if it
// still runs, and undoes what stands in its ledger. It may be called at any
// time and any number of times.
func Cleanup() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	var p process
	err = job.ReadFile(job.SupervisorName, &p)
	switch {
	case err == nil:
		err = errors.Join(p.kill(), removeFile(job.SupervisorName))
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	path := filepath.Join(dir, job.LedgerName)
	if err := errors.Join(err, ledger.Clean(path, undo(dir))); err != nil {
		return err
	}
	return removeFile(path)
}

// EmptyTrash deletes what builds have left behind for later, and base images
// that a crash left half unpacked, for the build folder that is the working
// directory. It takes as long as that takes, and disturbs no build.
func EmptyTrash(ctx context.Context) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	return errors.Join(chroot.CleanRoots(rootsDir(dir)), chroot.EmptyTrash(ctx, trashDir(dir)))
}

// undo says, by kind, how an entry of the ledger is undone.
func undo(dir string) map[ledger.Kind]func(string) error {
	return map[ledger.Kind]func(string) error{
		ledger.Directory: func(path string) error { return discard(dir, path) },
		ledger.File:      removeFile,
	}
}

// discard moves a folder out of the way, to be deleted later; one on another
// file system is deleted at once. Nothing is mounted below it any more: mounts
// end with the namespace that they were made in.
func discard(dir, path string) error {
	trash := trashDir(dir)
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	err := os.Rename(path, filepath.Join(trash, uuid.NewString()))
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EXDEV):
		return os.RemoveAll(path)
	}
	return fmt.Errorf("cannot remove %s: %w", path, err)
}
