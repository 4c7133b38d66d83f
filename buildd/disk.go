package buildd

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

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

// WatchDisk looks, until ctx ends, whether the state can be written, and whether the
// operator has drained the builder.
func (d *Daemon) WatchDisk(ctx context.Context) {
	for {
		d.drain.look()
		if d.loop.call(func(_ context.Context, s *slot) { s.disk.check() }) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(diskInterval):
		}
	}
}

// diskWatch knows whether the state can be written. It belongs to the slot, but what
// is broken may be read by everyone.
type diskWatch struct {
	files   *files
	loop    *loop
	log     *slog.Logger
	changed func()
	delay   time.Duration          // RetryDelay
	broken  atomic.Pointer[string] // why the state cannot be written; nil if it can
}

// check finds out whether the state can be written, and does so again until it can.
// Meanwhile an idle builder is none that takes builds.
func (w *diskWatch) check() {
	if w.broken.Load() == nil {
		w.checkAgain() // otherwise somebody does
	}
}

func (w *diskWatch) checkAgain() {
	again := w.broken.Load() != nil
	err := errors.Join(disk.TryToWrite(w.files.state.Path()), disk.TryToWrite(w.files.build.Path()))
	switch {
	case err == nil && again:
		w.broken.Store(nil)
		w.log.Info("The builder can write its state again")
		w.changed()
	case err != nil:
		why := BrokenText + ": " + err.Error()
		w.broken.Store(&why)
		w.loop.later(w.delay, func(context.Context, *slot) { w.checkAgain() })
		if !again {
			w.log.Error("The builder cannot write its state, and takes no builds until it can", "error", err)
			w.changed()
		}
	}
}
