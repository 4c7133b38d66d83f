package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync/atomic"
	"time"

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

// limit returns a context that the operator's limits end. stop releases it.
func (b *build) limit(ctx context.Context) (limited context.Context, stop func()) {
	limited, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.watch(limited, cancel)
	}()
	return limited, func() {
		cancel(nil)
		<-done
	}
}

// watch cancels when a limit is exceeded, and notes when space is short.
func (b *build) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	s := b.request.Settings
	tick, disks := time.NewTicker(watchInterval), time.NewTicker(diskInterval)
	defer tick.Stop()
	defer disks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.logFull:
			cancel(&limitError{what: fmt.Sprintf("its log grew beyond %d bytes", s.LogLimit), key: "[limits] log"})
		case now := <-tick.C:
			if s.WallLimit > 0 && now.Sub(b.started) > s.WallLimit {
				cancel(&limitError{what: fmt.Sprintf("it ran for %s", s.WallLimit), key: "[limits] wall"})
			}
			if s.SilenceLimit > 0 && now.Sub(b.log.LastWrite()) > s.SilenceLimit {
				cancel(&limitError{what: silence(s.SilenceLimit), key: "[limits] silence"})
			}
			if b.log.Err() != nil {
				cancel(b.unwritable(ctx, disk.TryToWrite))
			}
			b.watchSpace()
		case <-disks.C:
			if fault := b.unwritable(ctx, disk.TryToWrite); fault != nil {
				cancel(fault)
			}
		}
	}
}

// unwritable is why the disks of the builder cannot be written, as try finds out,
// nil if they can.
// What a package's tools say of such a disk would be taken for its failure.
func (b *build) unwritable(ctx context.Context, try func(dir string) error) error {
	if err := b.log.Err(); err != nil {
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot write the build log: %w", err),
			Advice: "Look at the disk of the file cache: is it full, read-only or broken?",
		}
	}
	for _, dir := range []string{b.request.Settings.Home, b.dir.Path()} {
		err := try(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		b.daemon.ErrorContext(ctx, "A disk of the builder cannot be written any more", "error", err)
		return &verdict.HostFault{
			Err:    fmt.Errorf("a disk of the builder cannot be written any more: %w", err),
			Advice: "Look at the kernel's log of the builder (dmesg): the file system may be damaged, or read-only after an error.",
		}
	}
	return nil
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

// watchSpace remembers how little room there was.
func (b *build) watchSpace() {
	for _, path := range []string{b.home, b.target.Root(), b.request.Settings.FileCache} {
		if space, err := disk.Of(path); err == nil {
			b.least.note(space.Free)
		}
	}
}

// fullDisk says how little room there was if a disk was full, or "".
func (b *build) fullDisk(ctx context.Context) string {
	b.watchSpace()
	if c, ok := b.target.(interface {
		room(context.Context) (disk.Room, error)
	}); ok {
		if room, err := c.room(ctx); err == nil {
			b.least.note(room)
		}
	}
	least := b.least.room()
	if left := least.Lacks(fullRoom()); left != "" {
		return left
	}
	if b.logSays("No space left on device") {
		return least.Lacks(shortRoom())
	}
	return ""
}

// blame marks a failure that is this machine's fault as such, so that it is
// never taken for the package's.
func (b *build) blame(ctx context.Context, err error) error {
	var fault *verdict.HostFault
	var judged *verdict.BuildError
	if errors.As(err, &fault) {
		return err
	}
	if reason := b.unwritable(ctx, disk.TryToStore); reason != nil {
		return reason
	}
	if reason := b.outOfMemory(ctx, err); reason != nil {
		return reason
	}
	decided := errors.As(err, &judged)
	if decided && (judged.Outcome == verdict.DepFail || judged.Outcome == verdict.GivenBack) {
		return err // it has not come to what needs much
	}
	if reason := b.outOfProcesses(ctx); reason != nil {
		return reason
	}
	if decided && judged.Outcome != verdict.PackageFail && judged.Outcome != verdict.ChrootFail {
		return err
	}
	if left := b.fullDisk(ctx); left != "" {
		return &verdict.HostFault{
			Err:    fmt.Errorf("the disk was full (%s were free): %w", left, err),
			Advice: "Free disk space (and inodes) on the builder, or raise [chroot] tmpfs if the build's upper layer is in memory.",
		}
	}
	return err
}

// logSays looks for a text near the end of the log.
func (b *build) logSays(text string) bool {
	tail, err := b.log.Tail(64 << 10)
	return err == nil && bytes.Contains(tail, []byte(text))
}
