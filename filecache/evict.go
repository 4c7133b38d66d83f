package filecache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
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

func (x excess) demands(e entry) bool {
	return x.bytes > 0 || x.short > 0 || e.used.Before(x.old)
}

// evict also tries to make the file system have room for need bytes more.
func (c *Cache) evict(ctx context.Context, need int64) (freed int64, err error) {
	c.evicting.Lock()
	defer c.evicting.Unlock()
	entries, err := c.entries()
	x, freeErr := c.excess(entries, need)
	err = errors.Join(err, freeErr)
	for _, e := range entries {
		if ctx.Err() != nil {
			return freed, errors.Join(err, context.Cause(ctx))
		}
		if !x.demands(e) || c.isProtected(e) {
			continue
		}
		if rmErr := c.Remove(e.name); rmErr != nil {
			err = errors.Join(err, rmErr)
			continue
		}
		freed += e.size
		x.bytes -= e.size
		x.short -= e.disk
		c.log.Info("evicted a file from the cache", "name", e.name, "size", e.size, "last_use", e.used)
	}
	return freed, err
}

func (c *Cache) excess(entries []entry, need int64) (excess, error) {
	var x excess
	limits := c.limits.Load()
	if limits.MaxAge > 0 {
		x.old = time.Now().Add(-limits.MaxAge)
	}
	if limits.MaxBytes > 0 {
		x.bytes = -limits.MaxBytes
		for _, e := range entries {
			x.bytes += e.size
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
	return x, nil
}

type entry struct {
	name string
	size int64 // bytes of content
	disk int64 // bytes that removing it frees
	used time.Time
}

// entries lists what may be evicted, the least recently used first.
func (c *Cache) entries() ([]entry, error) {
	var all []entry
	err := c.each(".", func(d fs.DirEntry) error {
		isEntry := d.Type().IsRegular() && CheckName(d.Name()) == nil
		if !isEntry {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{name: d.Name(), size: info.Size(), used: c.lastUse(d.Name(), info)}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 {
			e.disk = st.Blocks * statBlock
		}
		all = append(all, e)
		return nil
	})
	slices.SortFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	return all, err
}

func (c *Cache) isProtected(e entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, used := c.inUse[e.name]
	return used || c.pins[e.name] > 0 || !c.since.IsZero() && !e.used.Before(c.since)
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
