package filecache

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"lpbuildd/disk"
)

// Garbage is what a cache need not have.
type Garbage struct {
	// Entries exceed the limits of the options.
	Entries []Entry
	// Temporaries were left by processes that died.
	Temporaries []Entry
}

// Collect removes what exceeds the limits, as Evict does, and the temporaries of
// processes that died, and returns what it has removed. A dry run removes
// nothing, and returns what would be. Another process may use the cache
// meanwhile; SetInUse must say what that one needs.
func (c *Cache) Collect(ctx context.Context, dryRun bool) (Garbage, error) {
	var g Garbage
	err := c.eachExcessive(ctx, disk.Room{}, func(e Entry) error {
		if !dryRun {
			if err := c.Remove(e.Name); err != nil {
				return err
			}
		}
		g.Entries = append(g.Entries, e)
		return nil
	})
	staleErr := c.eachStale(func(path string, info fs.FileInfo) error {
		if !dryRun {
			if err := c.removeStale(path, info); err != nil {
				return err
			}
		}
		g.Temporaries = append(g.Temporaries, Entry{Name: path, Size: info.Size(), Disk: diskOf(info), Used: info.ModTime()})
		return nil
	})
	return g, errors.Join(err, staleErr)
}

// diskOf is how many bytes the removal of a file frees.
func diskOf(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink == 1 {
		return disk.Allocated(st)
	}
	return 0
}
