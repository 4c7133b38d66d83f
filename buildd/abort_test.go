package buildd

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// TestAnAbortIsForgottenWithItsBuild: a manager may give the same build again,
// and what waits for the end of the first one must not end the second.
func TestAnAbortIsForgottenWithItsBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newBareDaemon(t)
		defer d.Close()
		accept(t, d)
		check(t, d.Abort(t.Context()))
		<-time.After(time.Second)
		check(t, d.loop.call(func(ctx context.Context, s *slot) {
			s.conclude(ctx, job.Outcome{BuildID: "B-1", Status: "ABORTED"})
		}))
		check(t, d.Clean(t.Context()))
		accept(t, d)
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if s := d.Status(); s.State != Building || s.BuildID != "B-1" {
			t.Errorf("the next build is %+v", s)
		}
		// It has a limit of its own.
		check(t, d.Abort(t.Context()))
		<-time.After(2 * time.Minute)
		synctest.Wait()
		if s := d.Status(); s.State != Waiting || s.Outcome != "BUILDERFAIL" {
			t.Errorf("the next build, aborted, is %+v", s)
		}
	})
}

// newBareDaemon is a daemon without helpers.
func newBareDaemon(t *testing.T) *Daemon {
	t.Helper()
	cache, err := filecache.Open(t.TempDir(), filecache.Options{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	d, err := New(t.Context(), Config{
		Types: []Type{{Tag: "binarypackage"}}, Settings: job.Settings{AbortLimit: time.Minute},
		Cache: cache, Launcher: Launcher{}, Log: slog.New(slog.DiscardHandler),
	})
	check(t, err)
	return d
}

// accept has a build begin that nobody works on.
func accept(t *testing.T, d *Daemon) {
	t.Helper()
	var err error
	check(t, d.loop.call(func(_ context.Context, s *slot) {
		err = s.book.transition(Accept, func(j *journal) {
			*j = journal{BuildID: "B-1", Tag: "binarypackage", Accepted: time.Now()}
		})
	}))
	check(t, err)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
