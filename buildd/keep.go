package buildd

import (
	"context"
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
		if !d.expireKept(ctx, 0) {
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
func (d *Daemon) ReclaimKept(ctx context.Context, need int64) { d.expireKept(ctx, need) }

// expireKept looks for something that has to go. It is false when something had
// to, and did not.
func (d *Daemon) expireKept(ctx context.Context, need int64) bool {
	store := kept.In(d.state)
	all, err := store.List()
	if err != nil {
		d.cfg.Log.Error("Cannot look at what is kept of failed builds", "error", err)
		return false
	}
	victim, why := store.Victim(all, time.Now(), need)
	if why == "" {
		return true
	}
	d.cfg.Log.Info("Kept build has to go", "build_id", victim.BuildID, "id", victim.ID, "reason", why)
	// Not together with EmptyTrash, which may take long and need not know of it.
	d.expiring.Lock()
	defer d.expiring.Unlock()
	if err := d.cfg.Launcher.emptyTrash(ctx, d.dir, need); err != nil {
		d.cfg.Log.Error("Cannot remove what is kept of failed builds", "error", err)
		return false
	}
	return true
}
