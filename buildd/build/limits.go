package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// limitError ends a build that exceeded one of the operator's limits.
type limitError struct {
	what string
	key  string // of the configuration
}

func (e *limitError) Error() string {
	return fmt.Sprintf("the build was ended: %s (limit %s)", e.what, e.key)
}

// watchInterval is how often silence and free space are looked at, diskInterval
// how often whether the disks can be written.
const (
	watchInterval = 250 * time.Millisecond
	diskInterval  = 10 * time.Second
)

// watch looks after the operator's limits, and after the disks.
type watch struct {
	settings job.Settings
	started  time.Time
	voice    *voice
	// disks are where files must be writable, places where room must be.
	disks, places []string
	least         *lowWater
}

// limit returns a context that the operator's limits end. stop releases it.
func (w *watch) limit(ctx context.Context) (limited context.Context, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.look(limited, cancel)
	}()
	return limited, func() {
		cancel(nil)
		<-done
	}
}

// look cancels when a limit is exceeded, and notes when space is short.
func (w *watch) look(ctx context.Context, cancel context.CancelCauseFunc) {
	tick, disks := time.NewTicker(watchInterval), time.NewTicker(diskInterval)
	defer tick.Stop()
	defer disks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.voice.full:
			cancel(&limitError{what: fmt.Sprintf("its log grew beyond %d bytes", w.settings.LogLimit), key: "[limits] log"})
		case now := <-tick.C:
			if err := w.exceeded(now); err != nil {
				cancel(err)
			}
			if w.voice.log.Err() != nil {
				cancel(w.unwritable(ctx, disk.TryToWrite))
			}
			w.noteRoom()
		case <-disks.C:
			if fault := w.unwritable(ctx, disk.TryToWrite); fault != nil {
				cancel(fault)
			}
		}
	}
}

// exceeded is the limit of time that is exceeded, nil if none is.
func (w *watch) exceeded(now time.Time) error {
	s := w.settings
	if s.WallLimit > 0 && now.Sub(w.started) > s.WallLimit {
		return &limitError{what: fmt.Sprintf("it ran for %s", s.WallLimit), key: "[limits] wall"}
	}
	if s.SilenceLimit > 0 && now.Sub(w.voice.log.LastWrite()) > s.SilenceLimit {
		return &limitError{what: silence(s.SilenceLimit), key: "[limits] silence"}
	}
	return nil
}

// unwritable is why the disks of the builder cannot be written, as try finds out,
// nil if they can.
// What a package's tools say of such a disk would be taken for its failure.
func (w *watch) unwritable(ctx context.Context, try func(dir string) error) error {
	if err := w.voice.log.Err(); err != nil {
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot write the build log: %w", err),
			Advice: "Look at the disk of the file cache: is it full, read-only or broken?",
		}
	}
	for _, dir := range w.disks {
		err := try(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		w.voice.daemon.ErrorContext(ctx, "A disk of the builder cannot be written any more", "error", err)
		return &verdict.HostFault{
			Err:    fmt.Errorf("a disk of the builder cannot be written any more: %w", err),
			Advice: "Look at the kernel's log of the builder (dmesg): the file system may be damaged, or read-only after an error.",
		}
	}
	return nil
}

// noteRoom remembers how little room there was.
func (w *watch) noteRoom() {
	for _, path := range w.places {
		if space, err := disk.Of(path); err == nil {
			w.least.note(space.Free)
		}
	}
}

// full says that there was no room on a disk, or that a build could not say so.
func (w *watch) full() bool {
	return w.least.room().Lacks(fullRoom()) != "" || w.voice.log != nil && w.voice.log.Err() != nil
}

// silence says what was silent for so long.
func silence(limit time.Duration) string {
	what := fmt.Sprintf("it said nothing for %s", limit)
	if names := running(); names != "" {
		what += ", while there ran " + names
	}
	return what
}

// Less room than fullRoom is a full disk; less than shortRoom is one when the
// log also says so, because tools delete their files after a failure.
func fullRoom() disk.Room  { return disk.Room{Bytes: 4 << 20, Inodes: 16} }
func shortRoom() disk.Room { return disk.Room{Bytes: 256 << 20, Inodes: 16 << 10} }

// lowWater is the least room that was seen.
type lowWater struct{ bytes, inodes atomic.Int64 }

func newLowWater() *lowWater {
	w := &lowWater{}
	w.bytes.Store(math.MaxInt64)
	w.inodes.Store(disk.Uncounted)
	return w
}

func (w *lowWater) note(r disk.Room) {
	lower := func(least *atomic.Int64, now int64) {
		for old := least.Load(); now < old && !least.CompareAndSwap(old, now); old = least.Load() {
		}
	}
	lower(&w.bytes, r.Bytes)
	lower(&w.inodes, r.Inodes)
}

func (w *lowWater) room() disk.Room { return disk.Room{Bytes: w.bytes.Load(), Inodes: w.inodes.Load()} }
