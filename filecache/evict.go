package filecache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

// SetInUse says which entries are never evicted: these, and all that were
// stored or used at since or later; the zero time is no such rule. It replaces
// what was said before.
func (c *Cache) SetInUse(names []string, since time.Time) {
	set := make(map[string]struct{}, len(names))
	for _, n := range names {
		set[n] = struct{}{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inUse, c.since = set, since
}

// Evict removes the least recently used entries until the limits of the options
// are kept, and those that are too old. It writes nothing, so that a full disk
// does not stop it; freed is the sum of the sizes of what it removed. What is
// in use, and what an Ensure works on, stays even if limits stay exceeded.
func (c *Cache) Evict(ctx context.Context) (freed int64, err error) {
	return c.evict(ctx, disk.Room{})
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

// evict also tries to make the file system have that much room more.
func (c *Cache) evict(ctx context.Context, need disk.Room) (freed int64, err error) {
	err = c.eachExcessive(ctx, need, func(e Entry) error {
		if err := c.Remove(e.Name); err != nil {
			return err
		}
		freed += e.Size
		c.log.InfoContext(ctx, "evicted a file from the cache", "name", e.Name, "size", e.Size, "last_use", e.Used)
		return nil
	})
	return freed, err
}

// eachExcessive calls remove for the entries that the limits demand to be gone,
// the least recently used first.
func (c *Cache) eachExcessive(ctx context.Context, need disk.Room, remove func(Entry) error) error {
	c.evicting.Lock()
	defer c.evicting.Unlock()
	entries, err := c.Entries()
	x, freeErr := c.excess(entries, need)
	err = errors.Join(err, freeErr)
	for _, e := range entries {
		if ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if !x.demands(e) || c.isProtected(e) || c.usedSince(e) {
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

// usedSince says whether somebody, perhaps another process, has used the entry
// since it was listed.
func (c *Cache) usedSince(e Entry) bool {
	info, err := c.root.Lstat(e.Name)
	return err == nil && !c.lastUse(e.Name, info).Equal(e.Used)
}

func (c *Cache) excess(entries []Entry, need disk.Room) (excess, error) {
	var x excess
	limits := c.limits.Load()
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
	space, err := c.space(c.dir)
	if err != nil {
		return x, err
	}
	x.short = need.Plus(space.Reserve(limits.MinFree)).Minus(space.Free)
	if need.Positive() && x.short.Minus(c.evictable(entries)).Positive() {
		x.short = disk.Room{} // what needs the room will not have it; nothing else must suffer
	}
	return x, nil
}

// evictable is how much could be freed at most.
func (c *Cache) evictable(entries []Entry) (total disk.Room) {
	for _, e := range entries {
		if !c.isProtected(e) {
			total = total.Plus(e.room())
		}
	}
	return total
}

// Entry is a file of the cache.
type Entry struct {
	Name string
	// Size is that of the content, Disk how many bytes its removal frees.
	Size, Disk int64
	// Used is when it was written or last used, whichever is later.
	Used time.Time
}

// inodesOfEntry are those of the content and of its record.
const inodesOfEntry = 2

// room is what the removal of the entry frees.
func (e Entry) room() disk.Room { return disk.Room{Bytes: e.Disk, Inodes: inodesOfEntry} }

// Entries lists the cache, the least recently used first. It reads no content.
// An error comes with the entries that could be looked at.
func (c *Cache) Entries() ([]Entry, error) {
	var all []Entry
	err := c.each(".", func(d fs.DirEntry) error {
		isEntry := d.Type().IsRegular() && CheckName(d.Name()) == nil
		if !isEntry {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		all = append(all, Entry{Name: d.Name(), Size: info.Size(), Disk: diskOf(info), Used: c.lastUse(d.Name(), info)})
		return nil
	})
	slices.SortFunc(all, func(a, b Entry) int { return a.Used.Compare(b.Used) })
	return all, err
}

func (c *Cache) isProtected(e Entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, used := c.inUse[e.Name]
	return used || c.pins[e.Name] > 0 || !c.since.IsZero() && !e.Used.Before(c.since)
}

// pin protects the entry from eviction until the function is called.
func (c *Cache) pin(name string) (unpin func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pins[name]++
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pins[name]--; c.pins[name] == 0 {
			delete(c.pins, name)
		}
	}
}

// makeRoom evicts if so much more would not leave MinFree bytes, or inodes, and
// fails if it still would not.
func (c *Cache) makeRoom(ctx context.Context, need disk.Room) error {
	reclaimed, evicted := false, false
	for {
		space, err := c.space(c.dir)
		if err != nil {
			return err
		}
		reserve := space.Reserve(c.limits.Load().MinFree)
		missing := need.Plus(reserve).Minus(space.Free)
		if !missing.Positive() {
			return nil
		}
		if !reclaimed && c.opts.Reclaim != nil {
			c.opts.Reclaim(ctx, need.Bytes)
			reclaimed = true
			continue
		}
		if evicted && missing.Bytes > 0 {
			return fmt.Errorf("%d bytes needed, %d to be kept, %d free: %w", need.Bytes, reserve.Bytes, space.Free.Bytes, unix.ENOSPC)
		}
		if evicted {
			return fmt.Errorf("%d inodes needed, %d to be kept, %d free: %w", need.Inodes, reserve.Inodes, space.Free.Inodes, unix.ENOSPC)
		}
		if _, err := c.evict(ctx, need); err != nil {
			c.log.WarnContext(ctx, "cannot evict files from the cache", "error", err)
		}
		evicted = true
	}
}
