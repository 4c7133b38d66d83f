package buildd_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/kept"
)

// keepUntil makes something that is kept until then.
func keepUntil(r *rig, expires time.Time) {
	r.t.Helper()
	s := kept.In(r.state())
	id, path := s.NewPath()
	if err := s.Begin(path); err != nil {
		r.t.Fatal(err)
	}
	if err := s.Commit(path, kept.Record{ID: id, Failed: time.Now(), Expires: expires}); err != nil {
		r.t.Fatal(err)
	}
}

func TestWhatIsKeptIsRemovedWhenItHasTo(t *testing.T) {
	for _, c := range []struct {
		name    string
		expires time.Duration
		need    int64
		want    []int64 // what the helper is told
	}{
		{"it has time", time.Hour, 0, nil},
		{"it is due", -time.Second, 0, []int64{0}},
		{"a download needs room", time.Hour, 1 << 60, []int64{1 << 60}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.root.asked()
				keepUntil(r, time.Now().Add(c.expires))
				r.ReclaimKept(t.Context(), c.need)
				if asked := r.root.asked(); !slices.Equal(asked, c.want) {
					t.Errorf("the helper was told %v", asked)
				}
			})
		})
	}
}

// TestAWatchBeginsAtOnce: what expired while there was no daemon goes first of
// all.
func TestAWatchBeginsAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.asked()
		r.root.trash = func() {
			if err := os.RemoveAll(r.inState("kept")); err != nil {
				t.Error(err)
			}
		}
		keepUntil(r, time.Now().Add(-time.Hour))
		ctx, stop := context.WithCancelCause(t.Context())
		go r.WatchKept(ctx)
		synctest.Wait()
		if asked := r.root.asked(); len(asked) != 1 {
			t.Errorf("the helper was told %v", asked)
		}
		keepUntil(r, time.Now().Add(time.Second))
		r.pass(9 * time.Second)
		if asked := r.root.asked(); len(asked) != 0 {
			t.Errorf("the helper was told %v", asked)
		}
		r.pass(time.Second)
		if asked := r.root.asked(); len(asked) != 1 {
			t.Errorf("the helper was told %v", asked)
		}
		stop(nil)
		synctest.Wait()
	})
}

// TestWhatCannotBeRemovedIsLeftAloneForAMinute.
func TestWhatCannotBeRemovedIsLeftAloneForAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.asked()
		r.root.trashed = errors.New("no sudo")
		keepUntil(r, time.Now().Add(-time.Hour))
		ctx, stop := context.WithCancelCause(t.Context())
		go r.WatchKept(ctx)
		r.pass(59 * time.Second)
		if asked := r.root.asked(); len(asked) != 1 {
			t.Errorf("the helper was told %v", asked)
		}
		r.pass(time.Second)
		if asked := r.root.asked(); len(asked) != 1 {
			t.Errorf("the helper was told %v", asked)
		}
		stop(nil)
		synctest.Wait()
	})
}
