package supervise

import (
	"context"
	"errors"
	"log/slog"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/disk"
)

const damaged = leftovers.Damaged

// Cleanup kills the supervisor whose folder is the working directory, if it
// still runs, and undoes what stands in its ledger. It may be called at any
// time and any number of times.
func Cleanup(ctx context.Context, log *slog.Logger) error {
	dir, err := caller.WorkingFolder()
	if err != nil {
		return err
	}
	c := &leftovers.Cleaner{Dir: dir, Log: log, Report: func(err error) { log.Error(damaged, "error", err) }}
	if c.Builder, err = job.ReadBuilder(dir); err != nil {
		// A daemon from before there was that file.
		log.Warn("Cannot tell where to look for what the ledger does not name", "error", err)
	}
	if err := killChain(ctx, dir, c.Report); err != nil {
		return err // what it holds is not to be touched
	}
	if err := c.Clean(ctx); err != nil {
		return err
	}
	cgroup.Sweep()
	return errors.Join(disk.Remove(dir.Ledger()), disk.Remove(dir.Supervisor()), disk.Remove(dir.Container()))
}

// EmptyTrash deletes what builds have left behind for later, for the build
// folder that is the working directory: what was kept of failed builds and is
// due, or takes up the room for need bytes more; what was thrown away; and base
// images that a crash left half unpacked. It takes as long as that takes, and
// disturbs no build.
func EmptyTrash(ctx context.Context, need int64, log *slog.Logger) error {
	dir, err := caller.WorkingFolder()
	if err != nil {
		return err
	}
	keptErr := expireKept(ctx, kept.In(dir.State()), need, log)
	cleanErr := chroot.CleanRoots(ctx, dir.State().Roots())
	return errors.Join(keptErr, cleanErr, chroot.EmptyTrash(ctx, dir.State().Trash()))
}
