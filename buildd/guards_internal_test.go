package buildd

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/job"
)

// TestAFollowerOfAnEarlierBuildChangesNothing: it may notice late that its connection
// has ended.
func TestAFollowerOfAnEarlierBuildChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newBareDaemon(t)
		defer d.Close()
		accept(t, d)
		stale := &follower{build: attempt{"B-1", 1}, loop: d.loop, log: d.cfg.Log, began: true}
		stale.note(job.Event{Extra: map[string]any{"of": "another build"}})
		check(t, d.loop.call(func(ctx context.Context, s *slot) { s.unfollowed(ctx, stale) }))
		synctest.Wait()
		if s := d.Status(); s.State != Building || s.Extra != nil {
			t.Errorf("now %+v", s)
		}
		own := &follower{build: attempt{"B-1", time.Now().UnixNano()}, loop: d.loop, log: d.cfg.Log}
		own.note(job.Event{Extra: map[string]any{"of": "this build"}})
		if s := d.Status(); s.Extra["of"] != "this build" {
			t.Errorf("now %+v", s)
		}
	})
}
