package buildd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

// Why a build ended without an outcome.
const (
	diedWithin = "the supervisor of the build died"
	diedBefore = "the supervisor of the build ended before it began to work; usual reasons are a missing sudo rule, and a HOME or file cache that is not the daemon's own"
)

// settle ends a build whose supervisor has ended: with its outcome, or as the
// builder's failure if it has none, or one that cannot be read. After a restart of
// the daemon a build that died is forgotten instead, so that the manager queues it
// again at once and at no cost.
func (s *slot) settle(ctx context.Context, restarted bool, cause string) {
	o, err := s.files.outcome(s.book.journal.BuildID)
	switch {
	case err == nil:
		s.accomplish(ctx, o)
		return
	case !errors.Is(err, fs.ErrNotExist):
		s.files.setAside(s.files.build.Outcome(), err)
		restarted, cause = false, err.Error()
	}
	s.log.ErrorContext(ctx, "Supervisor died without an outcome", "build_id", s.book.journal.BuildID, "restarted", restarted)
	s.tidy(ctx, func(ctx context.Context, err error) {
		if restarted && err == nil {
			s.board.loss.happened()
			s.lose(ctx)
			return
		}
		s.fail(ctx, cause, err)
	})
}

// accomplish ends a build with the outcome that its supervisor has written.
func (s *slot) accomplish(ctx context.Context, o job.Outcome) {
	s.conclude(ctx, o)
	if !o.LeftForReset {
		s.awaitEnd(ctx, s.book.journal.attempt(), endChecks)
	}
}

// lose forgets a build that nothing is left of. While that cannot be written
// down it is tried again and again, as in conclude.
func (s *slot) lose(ctx context.Context) {
	err := s.book.transition(Lost, func(j *journal) { *j = j.forgotten() })
	if err == nil {
		s.unwritten.restore()
		s.book.sweep()
		return
	}
	a := s.book.journal.attempt()
	s.log.ErrorContext(ctx, "Cannot forget the build yet", "build_id", a.buildID, "error", err)
	if s.unwritten.isOver() {
		s.concludeUnwritten(ctx, job.Outcome{BuildID: a.buildID}, err)
		return
	}
	s.loop.later(s.cfg.RetryDelay, func(ctx context.Context, s *slot) {
		if s.book.runs(a) {
			s.lose(ctx)
		}
	})
}

// fail ends the build as the builder's failure.
func (s *slot) fail(ctx context.Context, cause string, cleanupErr error) {
	if cleanupErr != nil {
		cause += "; " + cleanupErr.Error()
	}
	text := fmt.Sprintf("\nBuild summary\n  Result:     %s\n  Cause:      %s\n"+
		"  What to do: look into the log of the daemon (journalctl -u 'lpbuildd*') and the kernel's (dmesg: out of memory?); the build can be tried again.\n", verdict.BuilderFail, cause)
	if err := buildlog.Append(s.files.state.Log(), text); err != nil {
		s.log.ErrorContext(ctx, "Cannot write to the build log", "error", err)
	}
	extra := s.board.now.Load().status.Extra
	s.conclude(ctx, job.Outcome{BuildID: s.book.journal.BuildID, Status: verdict.BuilderFail, Cause: cause, Extra: extra})
}

// conclude makes an outcome durable and shows it. While that is not possible,
// as on a full disk, nobody may be told, and it is tried again and again; on a
// disk that cannot be written any more, not for ever.
func (s *slot) conclude(ctx context.Context, o job.Outcome) {
	if s.link != nil {
		s.link.close()
		s.link = nil
	}
	if s.book.journal.State == Aborting && o.Status != verdict.BuilderFail {
		o.Status = verdict.Aborted
	}
	err := s.book.transition(Finish, func(j *journal) { j.Outcome = &o })
	if err == nil {
		s.unwritten.restore()
		s.log.InfoContext(ctx, "Build finished", "build_id", o.BuildID, "status", o.Status, "stage", o.Stage, "cause", o.Cause)
		return
	}
	a := s.book.journal.attempt()
	s.log.ErrorContext(ctx, "Cannot end the build yet", "build_id", o.BuildID, "error", err)
	if s.unwritten.isOver() {
		s.concludeUnwritten(ctx, o, err)
		return
	}
	s.loop.later(s.cfg.RetryDelay, func(ctx context.Context, s *slot) {
		if s.book.runs(a) {
			s.conclude(ctx, o)
		}
	})
}

// concludeUnwritten shows the end of a build that cannot be written down, as the
// builder's failure: no result can be promised. Should this process end before the
// disk is well, the next one knows only what the disk does.
func (s *slot) concludeUnwritten(ctx context.Context, o job.Outcome, why error) {
	s.unwritten.restore()
	s.disk.check()
	o = job.Outcome{
		BuildID: o.BuildID, Status: verdict.BuilderFail, Added: o.Added, Extra: o.Extra,
		Cause: fmt.Sprintf("the builder cannot write down how the build ended: %v", why),
	}
	s.book.showUnwritten(o)
	s.log.ErrorContext(ctx, "Build ended, and its end is not on the disk", "build_id", o.BuildID, "status", o.Status, "cause", o.Cause)
}
