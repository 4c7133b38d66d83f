package buildd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// A disk may turn read-only, or fail, under a builder. It says so, gives no build
// a beginning, lets the one that runs end, and goes on by itself when the disk can
// be written again.

// BrokenText begins what a builder answers that cannot write its state.
const BrokenText = "this builder cannot write its state"

// diskInterval is how often somebody looks whether the state can be written, be
// there a build or not: one that is refused counts against the builder.
const diskInterval = 30 * time.Second

// WatchDisk looks, until ctx ends, whether the state can be written.
func (d *Daemon) WatchDisk(ctx context.Context) {
	for {
		d.mu.Lock()
		d.checkDisk()
		d.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(diskInterval):
		}
	}
}

// tooLong says whether the end of the build cannot be written down for too long.
// The caller holds mu.
func (d *Daemon) tooLong() bool {
	if d.unwritten.IsZero() {
		d.unwritten = time.Now()
	}
	return time.Since(d.unwritten) >= d.cfg.WriteLimit
}

// concludeUnwritten shows the end of a build that cannot be written down, as the
// builder's failure: no result can be promised. Should this process end before the
// disk is well, the next one knows only what the disk does. The caller holds mu.
func (d *Daemon) concludeUnwritten(o job.Outcome, why error) {
	d.unwritten = time.Time{}
	d.checkDisk()
	o = job.Outcome{
		BuildID: o.BuildID, Status: verdict.BuilderFail, Added: o.Added, Extra: o.Extra,
		Cause: fmt.Sprintf("the builder cannot write down how the build ended: %v", why),
	}
	d.j.State, d.j.Outcome = Waiting, &o
	d.publish()
	d.cfg.Log.Error("Build ended, and its end is not on the disk", "build_id", o.BuildID, "status", o.Status, "cause", o.Cause)
	d.writeLater(d.j.attempt())
}

// writeLater writes the journal as soon as that is possible. The caller holds mu.
func (d *Daemon) writeLater(a attempt) {
	d.later(d.cfg.RetryDelay, func() {
		if d.j.State != Waiting || d.j.attempt() != a {
			return
		}
		if err := d.j.write(d.state); err != nil {
			d.writeLater(a)
			return
		}
		d.cfg.Log.Info("The end of the build is on the disk now", "build_id", a.buildID)
	})
}

// checkDisk finds out whether the state can be written, and does so again until it
// can. Meanwhile an idle builder is none that takes builds. The caller holds mu.
func (d *Daemon) checkDisk() {
	if d.broken.Load() == nil {
		d.checkDiskAgain() // otherwise somebody does
	}
}

func (d *Daemon) checkDiskAgain() {
	again := d.broken.Load() != nil
	err := errors.Join(disk.TryToWrite(d.state.Path()), disk.TryToWrite(d.dir))
	switch {
	case err == nil && again:
		d.broken.Store(nil)
		d.cfg.Log.Info("The builder can write its state again")
		d.cfg.Changed()
	case err != nil:
		why := BrokenText + ": " + err.Error()
		d.broken.Store(&why)
		d.later(d.cfg.RetryDelay, d.checkDiskAgain)
		if !again {
			d.cfg.Log.Error("The builder cannot write its state, and takes no builds until it can", "error", err)
			d.cfg.Changed()
		}
	}
}
