package buildd

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"lpbuildd/buildd/kept"
)

const (
	// keptInterval is how often what is kept of failed builds is looked at.
	keptInterval = 10 * time.Second
	// keptRetry is how long something that cannot be removed is left alone.
	keptRetry = time.Minute
)

// WatchKept has what is kept of failed builds removed when it is due, or when
// the disk is short, until ctx ends.
func (d *Daemon) WatchKept(ctx context.Context) {
	for {
		wait := keptInterval
		if !d.trash.expire(ctx, 0) {
			wait = keptRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ReclaimKept makes room for need bytes more than must be free on the disk of
// the file cache, as far as what is kept of failed builds takes it up.
func (d *Daemon) ReclaimKept(ctx context.Context, need int64) { d.trash.expire(ctx, need) }

// EmptyTrash deletes what earlier builds have left to be deleted later, after
// a crash in between. It takes as long as that takes.
func (d *Daemon) EmptyTrash(ctx context.Context) { d.trash.empty(ctx) }

// trash has things deleted that no build needs any more. It is safe for concurrent
// use.
type trash struct {
	files    *files
	launcher Helpers
	log      *slog.Logger
	emptying sync.Mutex // held by empty
	expiring sync.Mutex // held while something that is kept is removed
}

// empty deletes what builds have left to be deleted later.
func (t *trash) empty(ctx context.Context) {
	t.emptying.Lock()
	defer t.emptying.Unlock()
	if err := t.launcher.EmptyTrash(ctx, t.files.build.Path(), 0); err != nil {
		t.log.WarnContext(ctx, "Cannot delete what earlier builds left", "error", err)
	}
}

// expire looks for something that is kept and has to go. It is false when something
// had to, and did not.
func (t *trash) expire(ctx context.Context, need int64) bool {
	builds := kept.In(t.files.state)
	all, err := builds.List()
	if err != nil {
		t.log.ErrorContext(ctx, "Cannot look at what is kept of failed builds", "error", err)
		return false
	}
	victim, why := builds.Victim(all, time.Now(), need)
	if why == "" {
		return true
	}
	t.log.InfoContext(ctx, "Kept build has to go", "build_id", victim.BuildID, "id", victim.ID, "reason", why)
	// Not together with empty, which may take long and need not know of it.
	t.expiring.Lock()
	defer t.expiring.Unlock()
	if err := t.launcher.EmptyTrash(ctx, t.files.build.Path(), need); err != nil {
		t.log.ErrorContext(ctx, "Cannot remove what is kept of failed builds", "error", err)
		return false
	}
	return true
}
