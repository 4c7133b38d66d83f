package buildd

import (
	"context"
	"log/slog"
	"time"
)

// slot is the build slot. It belongs to its loop: all its methods are called by
// events, one at a time. None of them waits for anything but the disk: what takes
// long goes on aside, and comes back as an event.
type slot struct {
	cfg     *Config
	log     *slog.Logger
	loop    *loop
	files   *files
	book    *book
	board   *board
	disk    *diskWatch
	drain   *drainNews
	cleaner *cleaner

	// link is the connection to the supervisor of the build that runs; nil without
	// one, and until the supervisor has its request.
	link *link
	// started is the build whose supervisor, or sudo above it, this daemon has
	// started and not yet seen to end.
	started attempt
	// busy is closed when what goes on aside in the folder of the build is over; nil
	// without such work. It decides alone how the build goes on, or ends, and there
	// can be no other build meanwhile.
	busy chan struct{}
	// untidy is a build that is to be tidied up after when the slot is not busy any
	// more.
	untidy *attempt
	// unwritten is for how long the end of the build cannot be written down.
	unwritten patience
	// abortLimit is the AbortLimit of the build that runs.
	abortLimit time.Duration
}

// aside does work in the folder of the build that takes long, and then what follows
// from it. The channel is closed when that is done. The slot must not be busy.
func (s *slot) aside(work func() event) <-chan struct{} {
	busy := make(chan struct{})
	s.busy = busy
	s.loop.aside(func() event {
		then := work()
		return func(ctx context.Context, s *slot) {
			s.busy = nil
			then(ctx, s)
			close(busy)
			if a := s.untidy; a != nil && s.busy == nil {
				s.untidy = nil
				s.tidyBehind(ctx, *a)
			}
		}
	})
	return busy
}

// abort begins to abort the build that runs. The caller tells the supervisor, on
// the connection that it gets; without one, that is done when there is one.
func (s *slot) abort(ctx context.Context) (*link, error) {
	if s.book.journal.State == Aborting {
		return nil, nil
	}
	if err := s.book.transition(Abort, func(*journal) {}); err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "Build is being aborted", "build_id", s.book.journal.BuildID)
	s.limitAbort()
	return s.link, nil
}

// limitAbort kills the supervisor when it does not report the abort in time.
func (s *slot) limitAbort() {
	a := s.book.journal.attempt()
	s.loop.later(s.abortLimit+s.cfg.AbortGrace, func(ctx context.Context, s *slot) {
		if s.book.runs(a) && s.busy == nil {
			s.giveUp(ctx)
		}
	})
}

// giveUp kills a supervisor that did not finish an abort.
func (s *slot) giveUp(ctx context.Context) {
	if o, err := s.files.outcome(s.book.journal.BuildID); err == nil {
		s.accomplish(ctx, o)
		return
	}
	s.tidy(ctx, func(ctx context.Context, err error) { s.fail(ctx, "the aborted build did not end in time", err) })
}

// patience is how long something goes on that should not.
type patience struct {
	limit time.Duration
	since time.Time // the zero time while all is well
}

// isOver says that it goes on for too long. The first call begins.
func (p *patience) isOver() bool {
	if p.since.IsZero() {
		p.since = time.Now()
	}
	return time.Since(p.since) >= p.limit
}

// restore is called when all is well.
func (p *patience) restore() { p.since = time.Time{} }
