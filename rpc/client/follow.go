package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc/wire"
)

// patience is for how long FollowLog bears a builder that does not answer: enough
// for a restart.
const patience = 30 * time.Second

// FollowLog copies the build log to dst, from its start and as it grows, until
// the build is over, and returns the last status. Every status on the way is
// given to seen, which may be nil. A builder that does not answer for a while
// is asked again; a build other than the first one seen is an error.
func (c *Client) FollowLog(ctx context.Context, dst io.Writer, seen func(buildd.Status)) (buildd.Status, error) {
	f := follower{client: c, dst: dst, seen: seen}
	ticks := time.NewTicker(c.poll)
	defer ticks.Stop()
	lastAnswer := time.Now()
	for {
		st, over, err := f.step(ctx)
		switch {
		case err == nil && over:
			return st, nil
		case err == nil:
			lastAnswer = time.Now()
		case !isTransient(err) || time.Since(lastAnswer) > patience:
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, context.Cause(ctx)
		case <-ticks.C:
		}
	}
}

// follower is what FollowLog remembers from one poll to the next.
type follower struct {
	client  *Client
	dst     io.Writer
	seen    func(buildd.Status)
	buildID string
	offset  int64
}

// step asks for the status first: what is in the log after the build was over
// is all there will be.
func (f *follower) step(ctx context.Context) (st buildd.Status, over bool, err error) {
	if st, err = f.client.Status(ctx); err != nil {
		return st, false, err
	}
	if f.seen != nil {
		f.seen(st)
	}
	over = st.State == buildd.Idle || st.State == buildd.Waiting
	if f.buildID == "" {
		f.buildID = st.BuildID
	}
	if f.buildID != st.BuildID {
		return st, false, &lostBuildError{want: f.buildID, got: st.BuildID}
	}
	return st, over, f.copyNews(ctx)
}

func (f *follower) copyNews(ctx context.Context) error {
	file, err := f.client.OpenFile(ctx, wire.BuildLog, f.offset)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	n, err := io.Copy(writer{f.dst}, file)
	f.offset += n
	return err
}

// lostBuildError reports that the builder has gone on to something else.
type lostBuildError struct{ want, got string }

func (e *lostBuildError) Error() string {
	if e.got == "" {
		return fmt.Sprintf("the builder has lost build %s", e.want)
	}
	return fmt.Sprintf("the builder is at %s, no longer at %s", e.got, e.want)
}

// writer marks errors of the destination, which no patience cures.
type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// isTransient says whether asking again may help.
func isTransient(err error) bool {
	var fault *Fault
	var lost *lostBuildError
	var write *writeError
	return !errors.As(err, &fault) && !errors.As(err, &lost) && !errors.As(err, &write) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
