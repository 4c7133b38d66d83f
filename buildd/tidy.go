package buildd

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// cleanupTime is how long a clean-up may take.
const cleanupTime = 30 * time.Second

// cleaner undoes what dead builds have left.
type cleaner struct {
	files    *files
	launcher Helpers
	cache    *filecache.Cache
	trash    *trash
	loop     *loop
	log      *slog.Logger
	settings *atomic.Pointer[job.Settings]
}

// tidy undoes what dead builds left behind, if anything, and kills a supervisor
// that still lives. There must be one at a time, and no build that is not to be
// ended.
func (c *cleaner) tidy(ctx context.Context) error {
	if !isLeft(c.files.build.Ledger()) && !isLeft(c.files.build.Supervisor()) {
		return disk.RemoveTemporaries(c.files.build.Path())
	}
	limited, cancel := context.WithTimeout(ctx, cleanupTime)
	defer cancel()
	c.prepare(ctx)
	err := c.launcher.CleanUp(limited, c.files.build.Path())
	err = errors.Join(err, disk.RemoveTemporaries(c.files.build.Path()))
	if err != nil {
		c.log.ErrorContext(ctx, "Cannot clean up after the last build", "error", err)
	}
	c.loop.work.Go(func() { c.sweepUp(ctx) })
	return err
}

// prepare writes down where a clean-up has to look if the ledger does not tell. On a
// full disk it makes room without.
func (c *cleaner) prepare(ctx context.Context) {
	path := c.files.build.Builder()
	odd, err := aside.MoveOdd(path)
	if err = errors.Join(err, job.WriteBuilder(c.files.build, *c.settings.Load())); odd || err != nil {
		c.log.WarnContext(ctx, "Cannot tell the clean-up all that it could need", "path", path, "is_no_file", odd, "error", err)
	}
}

// sweepUp deletes what a dead build has thrown away or not finished. It takes as
// long as that takes, but ends with the daemon.
func (c *cleaner) sweepUp(ctx context.Context) {
	ctx, cancel := c.loop.untilStopped(ctx)
	defer cancel(nil)
	c.trash.empty(ctx)
	if err := c.cache.CleanTemporaries(); err != nil {
		c.log.WarnContext(ctx, "Cannot delete temporary files of the cache", "error", err)
	}
}

// tidy undoes, aside, what dead builds have left, and then what follows from it.
func (s *slot) tidy(ctx context.Context, then func(ctx context.Context, err error)) <-chan struct{} {
	return s.aside(func() event {
		err := s.cleaner.tidy(ctx)
		return func(ctx context.Context, _ *slot) { then(ctx, err) }
	})
}

// tidyBehind is tidy for a build that has ended, behind the answers. What it
// cannot undo, the next build tries again.
func (s *slot) tidyBehind(ctx context.Context, a attempt) {
	switch {
	case s.busy != nil:
		s.untidy = &a
	case !s.loop.stopping() && s.book.over(a):
		s.tidy(ctx, func(context.Context, error) {})
	}
}

// tidyAfterDeath is tidyBehind for a build whose supervisor ended otherwise than it
// should. If the build still runs, its outcome, or that death, is about to be noticed
// elsewhere.
func (s *slot) tidyAfterDeath(ctx context.Context, a attempt) {
	if s.book.runs(a) {
		s.loop.later(s.cfg.RetryDelay, func(ctx context.Context, s *slot) { s.tidyAfterDeath(ctx, a) })
		return
	}
	s.tidyBehind(ctx, a)
}

// endChecks is how often a supervisor with an outcome is found alive before it is
// killed. It has nothing left to do but to delete things, which others can do too,
// and one that is stopped, or below a sudo that is, would stay for ever.
const endChecks = 12

// awaitEnd waits until nothing is left of a supervisor that has written its
// outcome, and tidies up after one that died before it came to do that.
func (s *slot) awaitEnd(ctx context.Context, a attempt, checks int) {
	if !isLeft(s.files.build.Ledger()) && s.started != a || s.book.journal.runs() {
		return
	}
	l, err := connect(ctx, s.cfg.Launcher, s.files.build.Path())
	if err == nil {
		l.close()
	} else {
		checks = min(checks, 1)
	}
	switch {
	case err != nil && isLeft(s.files.build.Ledger()):
		s.tidyBehind(ctx, a)
	case checks > 0:
		s.loop.later(s.cfg.RetryDelay, func(ctx context.Context, s *slot) { s.awaitEnd(ctx, a, checks-1) })
	default:
		s.log.WarnContext(ctx, "The supervisor of a finished build does not end and is killed", "build_id", a.buildID)
		s.tidyBehind(ctx, a)
	}
}
