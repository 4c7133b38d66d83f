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

// Collect evicts what exceeds the limits, deletes the temporaries of dead processes,
// and returns a list of both. A dry run only makes the list. Another process may use
// the cache meanwhile; SetInUse must name its entries.
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
