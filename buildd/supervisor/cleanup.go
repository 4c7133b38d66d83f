package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/filecache"
)

// Cleanup kills the supervisor whose folder is the working directory, if it
// still runs, and undoes what stands in its ledger. It may be called at any
// time and any number of times.
func Cleanup(ctx context.Context, log *slog.Logger) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, job.LedgerName)
	if err := killChain(ctx, dir); err != nil {
		return err // what it holds is not to be touched
	}
	if err := ledger.Clean(path, undo(ctx, dir, log)); err != nil {
		return err
	}
	cgroup.Sweep()
	return errors.Join(removeFile(path), removeFile(job.SupervisorName), removeFile(containerName))
}

// EmptyTrash deletes what builds have left behind for later, for the build
// folder that is the working directory: what was kept of failed builds and is
// due, or takes up the room for need bytes more; what was thrown away; and base
// images that a crash left half unpacked. It takes as long as that takes, and
// disturbs no build.
func EmptyTrash(ctx context.Context, need int64, log *slog.Logger) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	keptErr := expireKept(ctx, keptStore(dir), need, log)
	cleanErr := chroot.CleanRoots(rootsDir(dir)) //nolint:contextcheck // it takes none
	return errors.Join(keptErr, cleanErr, chroot.EmptyTrash(ctx, trashDir(dir)))
}

// undo says, by kind, how an entry of the ledger is undone, once no process of
// that build lives.
func undo(ctx context.Context, dir string, log *slog.Logger) map[ledger.Kind]func(string) error {
	discarded := func(path string) error { return discard(dir, path) }
	removed := removeFile
	if taken, err := takenOver(dir); taken || err != nil {
		discarded = func(string) error { return err }
		removed = discarded
	}
	// After one thing in the engine that stays the others stay too: that one uses
	// them, or the engine hangs, and nobody should have to wait for each.
	var stays error
	inEngine := func(kind string) func(string) error {
		return func(name string) error {
			if stays == nil {
				stays = undoContainer(ctx, dir, kind, name)
			}
			return stays
		}
	}
	return map[ledger.Kind]func(string) error{
		ledger.Directory: discarded,
		ledger.File:      removed,
		ledger.Token:     func(id string) error { undoToken(ctx, id, log); return nil }, //nolint:unparam // all kinds are undone in this way
		ledger.Bridge:    func(name string) error { return undoBridge(ctx, name) },
		ledger.Container: func(name string) error {
			given, err := isKept(dir, name)
			if given || err != nil {
				return err
			}
			return inEngine(incus.KindContainer)(name)
		},
		ledger.Profile: inEngine(incus.KindProfile),
		ledger.Network: inEngine(incus.KindNetwork),
		ledger.Result:  func(sum string) error { return undoResult(dir, sum) },
	}
}

// isKept says whether a container is that of a kept build: whoever died between
// writing that down and striking the container out of the ledger has given it
// away.
func isKept(dir, container string) (bool, error) {
	all, err := keptStore(dir).List()
	return slices.ContainsFunc(all, func(r kept.Record) bool { return r.Container == container }), err
}

// undoResult removes a result from the file cache, unless the outcome of its
// build was written: from then on the daemon decides. Its record in the cache
// goes with the next cleaning of the cache.
func undoResult(dir, sum string) error {
	if _, err := os.Lstat(filepath.Join(dir, job.OutcomeName)); err == nil {
		return nil
	}
	if err := filecache.CheckName(sum); err != nil {
		return err
	}
	return removeFile(filepath.Join(cacheDir(dir), sum))
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
