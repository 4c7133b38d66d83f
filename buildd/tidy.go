package buildd

import (
	"context"
	"errors"
	"os"
	"time"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// tidyEnding is tidy for a build that its caller is about to end. It lets go of
// mu meanwhile, so that abort() is answered; nobody else can end the build, nor
// can there be another one. The caller holds mu.
func (d *Daemon) tidyEnding(ctx context.Context) error {
	d.ending = true
	d.mu.Unlock()
	err := d.tidy(ctx)
	d.mu.Lock()
	d.ending = false
	return err
}

// tidyBehind is tidy for a build that has ended, behind the answers. What it
// cannot undo, the next build tries again.
func (d *Daemon) tidyBehind(ctx context.Context, a attempt) {
	d.wg.Go(func() {
		if d.cleaning.Acquire(ctx, 1) != nil {
			return
		}
		defer d.cleaning.Release(1)
		if !d.closing() && d.over(a) {
			_ = d.tidy(ctx)
		}
	})
}

// over says whether this build has ended and no other one has begun.
func (d *Daemon) over(a attempt) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.j.State == Idle || d.j.State == Waiting && d.j.attempt() == a
}

// tidy undoes what dead builds left behind, if anything, and kills a supervisor
// that still lives. The caller holds cleaning, or has set ending.
func (d *Daemon) tidy(ctx context.Context) error {
	if !exists(state.Build(d.dir).Ledger()) && !exists(state.Build(d.dir).Supervisor()) {
		return disk.RemoveTemporaries(d.dir)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	d.prepareCleanup()
	err := d.cfg.Launcher.cleanup(ctx, d.dir)
	err = errors.Join(err, disk.RemoveTemporaries(d.dir))
	if err != nil {
		d.cfg.Log.Error("Cannot clean up after the last build", "error", err)
	}
	d.wg.Go(func() {
		ctx, cancel := d.untilClosed(ctx)
		defer cancel(nil)
		d.sweepUp(ctx)
	})
	return err
}

// prepareCleanup writes down where a clean-up has to look if the ledger does not
// tell. On a full disk it makes room without.
func (d *Daemon) prepareCleanup() {
	d.mu.Lock()
	settings := d.settings
	d.mu.Unlock()
	path := state.Build(d.dir).Builder()
	odd, err := aside.MoveOdd(path)
	if err = errors.Join(err, job.WriteBuilder(state.Build(d.dir), settings)); odd || err != nil {
		d.cfg.Log.Warn("Cannot tell the clean-up all that it could need", "path", path, "is_no_file", odd, "error", err)
	}
}

// tidyUpAfterOutcome does what a supervisor did not come to do that died when its
// outcome was written. The caller holds mu.
func (d *Daemon) tidyUpAfterOutcome(ctx context.Context) {
	d.awaitEnd(ctx, d.j.attempt(), endChecks)
}

// endChecks is how often a supervisor with an outcome is found alive before it is
// killed. It has nothing left to do but to delete things, which others can do too,
// and one that is stopped, or below a sudo that is, would stay for ever.
const endChecks = 12

// awaitEnd waits until nothing is left of a supervisor that has written its
// outcome. The caller holds mu.
func (d *Daemon) awaitEnd(ctx context.Context, a attempt, checks int) {
	if !exists(state.Build(d.dir).Ledger()) && d.started != a || d.j.State == Building || d.j.State == Aborting {
		return
	}
	l, err := connect(ctx, d.dir)
	if err == nil {
		l.close()
	} else {
		checks = min(checks, 1)
	}
	switch {
	case err != nil && exists(state.Build(d.dir).Ledger()):
		d.tidyBehind(ctx, a)
	case checks > 0:
		d.later(d.cfg.RetryDelay, func() { d.awaitEnd(ctx, a, checks-1) })
	default:
		d.cfg.Log.Warn("The supervisor of a finished build does not end and is killed", "build_id", a.buildID)
		d.tidyBehind(ctx, a)
	}
}

// sweepUp deletes, however long that takes, what a dead build has thrown away
// or not finished.
func (d *Daemon) sweepUp(ctx context.Context) {
	d.EmptyTrash(ctx)
	if err := d.cfg.Cache.CleanTemporaries(); err != nil {
		d.cfg.Log.Warn("Cannot delete temporary files of the cache", "error", err)
	}
}

// exists says whether there is anything with this name.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
