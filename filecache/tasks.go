package filecache

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// abandonAfter ends a download that progresses, but too slowly for anyone who
// may have asked: managers give up after 600 to 800 seconds (spec: client.md).
const abandonAfter = 6 * time.Hour

var errClosed = errors.New("the cache was closed")

// tasks are what goes on whoever waits for it, until the cache is closed. The
// zero value has none.
type tasks struct {
	work sync.WaitGroup

	mu      sync.Mutex
	closed  bool               // guarded by mu
	running map[*task]struct{} // guarded by mu
}

type task struct{ cancel context.CancelCauseFunc }

// share runs work once for all who ask for the same name at the same time. Work
// goes on when a caller's context ends, which only ends that caller's wait.
func share[T any](ctx context.Context, ts *tasks, g *singleflight.Group, name string, work func(context.Context) (T, error)) (T, error) {
	done := g.DoChan(name, func() (any, error) {
		ctx, end := ts.begin(ctx)
		defer end()
		return work(ctx)
	})
	var none T
	select {
	case r := <-done:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// begin gives work a context that only close and abandonAfter end.
func (ts *tasks) begin(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, stop := context.WithTimeout(ctx, abandonAfter)
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.closed {
		cancel(errClosed)
		return ctx, stop
	}
	t := &task{cancel: cancel}
	if ts.running == nil {
		ts.running = map[*task]struct{}{}
	}
	ts.running[t] = struct{}{}
	ts.work.Add(1)
	return ctx, func() {
		stop()
		cancel(nil)
		ts.mu.Lock()
		delete(ts.running, t)
		ts.mu.Unlock()
		ts.work.Done()
	}
}

// start runs work that ends by itself when isClosed. Once closed, it runs nothing.
func (ts *tasks) start(work func()) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !ts.closed {
		ts.work.Go(work)
	}
}

func (ts *tasks) isClosed() bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.closed
}

// close ends all of them and waits for that.
func (ts *tasks) close() {
	ts.mu.Lock()
	ts.closed = true
	for t := range ts.running {
		t.cancel(errClosed)
	}
	ts.mu.Unlock()
	ts.work.Wait()
}
