package filecache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

// Limits are those of the Options that may change while the cache is open.
type Limits struct {
	MaxBytes int64
	MaxAge   time.Duration
	MinFree  int64
}

// evictor keeps the limits: it removes the least recently used entries of those
// that nobody uses, and sees that there is room for what comes.
type evictor struct {
	store   *store
	inUse   *inUse
	dir     string // whose file system must have room
	limits  atomic.Pointer[Limits]
	space   func(dir string) (disk.Space, error)
	reclaim func(ctx context.Context, need int64) // may be nil
	log     *slog.Logger

	evicting sync.Mutex
}

// excess is by how much a cache breaks its limits.
type excess struct {
	bytes int64     // above MaxBytes
	short disk.Room // missing free space
	old   time.Time // what was used before is too old
}

func (x excess) demands(e Entry) bool {
	return x.bytes > 0 || x.short.Positive() || e.Used.Before(x.old)
}

// evict removes what exceeds the limits. It also tries to make the file system
// have that much room more.
func (v *evictor) evict(ctx context.Context, need disk.Room) (freed int64, err error) {
	err = v.eachExcessive(ctx, need, func(e Entry) error {
		if err := v.store.remove(e.Name); err != nil {
			return err
		}
		freed += e.Size
		v.log.InfoContext(ctx, "evicted a file from the cache", "name", e.Name, "size", e.Size, "last_use", e.Used)
		return nil
	})
	return freed, err
}

// eachExcessive calls remove for the entries that the limits demand to be gone,
// the least recently used first.
func (v *evictor) eachExcessive(ctx context.Context, need disk.Room, remove func(Entry) error) error {
	v.evicting.Lock()
	defer v.evicting.Unlock()
	entries, err := v.store.list()
	x, freeErr := v.excess(entries, need)
	err = errors.Join(err, freeErr)
	for _, e := range entries {
		if ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if !x.demands(e) || v.inUse.protects(e) || v.store.usedSince(e) {
			continue
		}
		if rmErr := remove(e); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		x.bytes -= e.Size
		x.short = x.short.Minus(e.room())
	}
	return err
}

func (v *evictor) excess(entries []Entry, need disk.Room) (excess, error) {
	var x excess
	limits := v.limits.Load()
	if limits.MaxAge > 0 {
		x.old = time.Now().Add(-limits.MaxAge)
	}
	if limits.MaxBytes > 0 {
		x.bytes = -limits.MaxBytes
		for _, e := range entries {
			x.bytes += e.Size
		}
	}
	if limits.MinFree <= 0 && !need.Positive() {
		return x, nil
	}
	space, err := v.space(v.dir)
	if err != nil {
		return x, err
	}
	x.short = need.Plus(space.Reserve(limits.MinFree)).Minus(space.Free)
	if need.Positive() && x.short.Minus(v.evictable(entries)).Positive() {
		x.short = disk.Room{} // what needs the room will not have it; nothing else must suffer
	}
	return x, nil
}

// evictable is how much could be freed at most.
func (v *evictor) evictable(entries []Entry) (total disk.Room) {
	for _, e := range entries {
		if !v.inUse.protects(e) {
			total = total.Plus(e.room())
		}
	}
	return total
}

// makeRoom evicts if so much more would not leave MinFree bytes, or inodes, and
// fails if it still would not.
func (v *evictor) makeRoom(ctx context.Context, need disk.Room) error {
	reclaimed, evicted := false, false
	for {
		space, err := v.space(v.dir)
		if err != nil {
			return err
		}
		reserve := space.Reserve(v.limits.Load().MinFree)
		missing := need.Plus(reserve).Minus(space.Free)
		if !missing.Positive() {
			return nil
		}
		if !reclaimed && v.reclaim != nil {
			v.reclaim(ctx, need.Bytes)
			reclaimed = true
			continue
		}
		if evicted && missing.Bytes > 0 {
			return fmt.Errorf("%d bytes needed, %d to be kept, %d free: %w", need.Bytes, reserve.Bytes, space.Free.Bytes, unix.ENOSPC)
		}
		if evicted {
			return fmt.Errorf("%d inodes needed, %d to be kept, %d free: %w", need.Inodes, reserve.Inodes, space.Free.Inodes, unix.ENOSPC)
		}
		if _, err := v.evict(ctx, need); err != nil {
			v.log.WarnContext(ctx, "cannot evict files from the cache", "error", err)
		}
		evicted = true
	}
}
