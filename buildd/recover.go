package buildd

import (
	"context"
	"errors"
	"io/fs"
)

// takeUp goes on from the state of the last daemon. The channel, if there is one, is
// closed when what that has left is settled.
func (s *slot) takeUp(ctx context.Context) (settled <-chan struct{}) {
	if err := s.book.open(); err != nil {
		s.log.ErrorContext(ctx, "Cannot write the journal", "error", err)
	}
	s.board.show(&s.book.journal)
	switch s.book.journal.State {
	case Idle:
		// What it cannot undo, the next build tries again.
		return s.tidy(ctx, func(context.Context, error) { s.book.sweep() })
	case Waiting:
		// A supervisor that still lives has nothing left to do but to delete what
		// its build threw away.
		return s.tidy(ctx, func(context.Context, error) {})
	case Building, Aborting:
		s.resume(ctx)
		if s.book.journal.runs() {
			return s.busy
		}
	}
	return nil
}

// resume follows the build that the last daemon started, or settles it.
func (s *slot) resume(ctx context.Context) {
	if _, err := s.files.outcome(s.book.journal.BuildID); !errors.Is(err, fs.ErrNotExist) {
		s.settle(ctx, true, diedWithin)
		return
	}
	l, err := connect(ctx, s.cfg.Launcher, s.files.build.Path())
	if err != nil {
		s.settle(ctx, true, diedWithin)
		return
	}
	s.log.InfoContext(ctx, "Build goes on after a restart", "build_id", s.book.journal.BuildID)
	s.follow(ctx, l, true)
	if s.book.journal.State == Aborting {
		s.limitAbort()
	}
}
