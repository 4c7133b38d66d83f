package buildd

import (
	"context"
	"errors"
	"sync"
	"time"
)

// event is something that happens to the slot. The context is that of the loop,
// which never ends: what has begun is brought to its end.
type event func(ctx context.Context, s *slot)

// errStopping answers a call that comes too late.
var errStopping = &Fault{Reason: "the builder's daemon stops; try again when it runs"}

// loop is the goroutine that owns the slot, and those that work for it. Nobody
// else has the slot: whoever wants something of it sends an event. Its methods are
// safe for concurrent use.
type loop struct {
	calls   chan event    // of those who can live without an answer when the daemon stops
	reports chan event    // of work that the slot waits for: they all arrive
	stopped chan struct{} // closed when the daemon stops; no more calls then
	quit    chan struct{} // closed when all work is over
	ended   chan struct{} // closed when the goroutine has ended
	work    sync.WaitGroup
}

func newLoop() *loop {
	return &loop{
		calls: make(chan event), reports: make(chan event),
		stopped: make(chan struct{}), quit: make(chan struct{}), ended: make(chan struct{}),
	}
}

// run carries out events, one after the other, until stop.
func (l *loop) run(ctx context.Context, s *slot) {
	defer close(l.ended)
	calls := l.calls
	for {
		select {
		case e := <-calls:
			e(ctx, s)
		case e := <-l.reports:
			e(ctx, s)
		case <-l.quit:
			return
		}
		if l.stopping() {
			calls = nil
		}
	}
}

// call has an event happen and waits until it has, which it has not if the daemon
// stops: that is the error. An event must not call.
func (l *loop) call(e event) error {
	over := make(chan struct{})
	select {
	case l.calls <- announced(e, over):
		<-over
		return nil
	case <-l.stopped:
		return errStopping
	}
}

// announced is an event that closes a channel when it has happened.
func announced(e event, over chan<- struct{}) event {
	return func(ctx context.Context, s *slot) {
		defer close(over)
		e(ctx, s)
	}
}

// aside does work that takes long, and then has its event happen, also when the
// daemon stops meanwhile.
func (l *loop) aside(work func() event) {
	l.work.Go(func() {
		over := make(chan struct{})
		l.reports <- announced(work(), over)
		<-over // what it begins is counted before this work is over
	})
}

// later has an event happen after a delay, unless the daemon stops before.
func (l *loop) later(delay time.Duration, e event) {
	l.work.Go(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-l.stopped:
		case <-timer.C:
			_ = l.call(e) // nobody needs it any more when the daemon stops
		}
	})
}

// stopping says that stop was called.
func (l *loop) stopping() bool {
	select {
	case <-l.stopped:
		return true
	default:
		return false
	}
}

// untilStopped returns a context that ends with the daemon too.
func (l *loop) untilStopped(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	l.work.Go(func() {
		select {
		case <-l.stopped:
			cancel(errors.New("the daemon stops"))
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// stop has a last event happen, refuses calls from then on, and waits until all
// work is over. It may be called once.
func (l *loop) stop(last event) {
	_ = l.call(func(ctx context.Context, s *slot) {
		close(l.stopped)
		last(ctx, s)
	})
	l.work.Wait()
	close(l.quit)
	<-l.ended
}
