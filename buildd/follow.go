package buildd

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"lpbuildd/buildd/job"
)

// follower listens to the supervisor of a build, in a goroutine of its own, and
// tells the slot what it hears.
type follower struct {
	build attempt
	link  *link
	dir   string
	loop  *loop
	log   *slog.Logger
	// patience and ready are RetryDelay and ReadyWait.
	patience, ready time.Duration

	// abort says that the supervisor is to be told to abort: it may not have been,
	// or the connection may have broken before.
	abort bool
	// resumed says that it was the last daemon who started the build.
	resumed bool
	// began says that a stage of the build was seen, lost that the supervisor never
	// got its request. They are for the slot, at the end.
	began, lost bool
}

// follow makes a connection the current one and follows it; resumed says that
// it was the last daemon who started the build.
func (s *slot) follow(ctx context.Context, l *link, resumed bool) {
	s.link = l
	if s.loop.stopping() {
		l.close()
		return
	}
	f := &follower{
		build: s.book.journal.attempt(), link: l, dir: s.files.build.Path(), loop: s.loop, log: s.log,
		patience: s.cfg.RetryDelay, ready: s.cfg.ReadyWait,
		abort: s.book.journal.State == Aborting, resumed: resumed,
	}
	s.loop.work.Go(func() { f.run(ctx) })
}

// run listens until the build is over, or until another connection or none is
// needed.
func (f *follower) run(ctx context.Context) {
	if f.abort {
		f.link.abort(ctx, f.log, f.build)
	}
	if f.lost = f.resumed && !f.handedOver(); f.lost {
		f.dismiss()
	} else {
		f.listen()
	}
	f.link.close()
	// A daemon that stops leaves the rest to the next one.
	_ = f.loop.call(func(ctx context.Context, s *slot) { s.unfollowed(ctx, f) })
}

// listen shows what a supervisor tells until the connection ends.
func (f *follower) listen() {
	for {
		e, err := f.hear()
		if err != nil || e.Done {
			return
		}
		f.note(e)
	}
}

// note has the slot show what a supervisor told about its build.
func (f *follower) note(e job.Event) {
	f.began = f.began || e.Stage != ""
	if e.Extra == nil {
		return
	}
	_ = f.loop.call(func(_ context.Context, s *slot) {
		if s.book.runs(f.build) {
			s.board.note(e.Extra)
		}
	})
}

// hear waits for the next event, which is there at once on each connection. The
// wait ends with os.ErrDeadlineExceeded if the supervisor is dead: a sudo that was
// stopped keeps its socket.
func (f *follower) hear() (job.Event, error) {
	for {
		f.link.receiveWithin(f.patience)
		e, err := f.link.receive()
		if !errors.Is(err, os.ErrDeadlineExceeded) || supervisorGone(f.dir) {
			return e, err
		}
	}
}

// handedOver is false when the last daemon died before it gave the supervisor
// its request, which then is gone, and when the supervisor is. One that says
// nothing yet is only slow, however long that takes.
func (f *follower) handedOver() bool {
	defer f.link.receiveWithin(0)
	next := f.hear
	for said := false; ; said = true {
		e, err := next()
		if err != nil {
			return !said && !errors.Is(err, os.ErrDeadlineExceeded)
		}
		f.note(e)
		if e.Ready {
			return true
		}
		if !said {
			f.link.receiveWithin(f.ready)
			next = f.link.receive
		}
	}
}

// dismiss sends a supervisor without a request away and waits until it is gone.
func (f *follower) dismiss() {
	if err := f.link.sendAbort(); err != nil || supervisorGone(f.dir) {
		return
	}
	f.link.receiveWithin(10 * time.Second)
	for {
		if _, err := f.link.receive(); err != nil {
			return
		}
	}
}

// unfollowed goes on when a connection has ended: with another one, or with the end
// of the build.
func (s *slot) unfollowed(ctx context.Context, f *follower) {
	if !s.book.runs(f.build) || s.busy != nil || !f.lost && s.reconnect(ctx) {
		return
	}
	cause := diedBefore
	if f.began {
		cause = diedWithin
	}
	s.settle(ctx, f.lost, cause)
}

// reconnect follows a supervisor that still lives on a new connection; false
// when the build is over.
func (s *slot) reconnect(ctx context.Context) bool {
	if _, err := s.files.outcome(s.book.journal.BuildID); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	l, err := connect(ctx, s.cfg.Launcher, s.files.build.Path())
	if err != nil {
		return false
	}
	if supervisorGone(s.files.build.Path()) {
		l.close()
		return false
	}
	s.follow(ctx, l, false)
	return true
}
