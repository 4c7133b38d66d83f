package filecache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// statBlock is the unit of st_blocks, whatever the file system.
const statBlock = 512

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
	return c.evict(ctx, 0)
}

// excess is by how much a cache breaks its limits.
type excess struct {
	bytes int64     // above MaxBytes
	short int64     // missing free space
	old   time.Time // what was used before is too old
}

func (x excess) demands(e Entry) bool {
	return x.bytes > 0 || x.short > 0 || e.Used.Before(x.old)
}

// evict also tries to make the file system have room for need bytes more.
func (c *Cache) evict(ctx context.Context, need int64) (freed int64, err error) {
	err = c.eachExcessive(ctx, need, func(e Entry) error {
		if err := c.Remove(e.Name); err != nil {
			return err
		}
		freed += e.Size
		c.log.Info("evicted a file from the cache", "name", e.Name, "size", e.Size, "last_use", e.Used)
		return nil
	})
	return freed, err
}

// eachExcessive calls remove for the entries that the limits demand to be gone,
// the least recently used first.
func (c *Cache) eachExcessive(ctx context.Context, need int64, remove func(Entry) error) error {
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
		x.short -= e.Disk
	}
	return err
}

// usedSince says whether somebody, perhaps another process, has used the entry
// since it was listed.
func (c *Cache) usedSince(e Entry) bool {
	info, err := c.root.Lstat(e.Name)
	return err == nil && !c.lastUse(e.Name, info).Equal(e.Used)
}

func (c *Cache) excess(entries []Entry, need int64) (excess, error) {
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
	if need+limits.MinFree <= 0 {
		return x, nil
	}
	free, err := c.free(c.dir)
	if err != nil {
		return x, err
	}
	x.short = need + limits.MinFree - free
	if need > 0 && x.short > c.evictable(entries) {
		x.short = 0 // what needs the room will not have it; nothing else must suffer
	}
	return x, nil
}

// evictable is how many bytes could be freed at most.
func (c *Cache) evictable(entries []Entry) (total int64) {
	for _, e := range entries {
		if !c.isProtected(e) {
			total += e.Disk
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

// makeRoom evicts if need bytes more would not leave MinFree bytes, and fails if
// they still would not.
func (c *Cache) makeRoom(ctx context.Context, need int64) error {
	keep := c.limits.Load().MinFree
	reclaimed, evicted := false, false
	for {
		free, err := c.free(c.dir)
		if err != nil {
			return err
		}
		if free-need >= keep {
			return nil
		}
		if !reclaimed && c.opts.Reclaim != nil {
			c.opts.Reclaim(ctx, need)
			reclaimed = true
			continue
		}
		if evicted {
			return fmt.Errorf("%d bytes needed, %d to be kept, %d free: %w", need, keep, free, unix.ENOSPC)
		}
		if _, err := c.evict(ctx, need); err != nil {
			c.log.Warn("cannot evict files from the cache", "error", err)
		}
		evicted = true
	}
}
