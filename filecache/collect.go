package filecache

import (
	"context"
	"errors"
	"io/fs"

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
	err := c.evictor.eachExcessive(ctx, disk.Room{}, func(e Entry) error {
		if !dryRun {
			if err := c.store.remove(e.Name); err != nil {
				return err
			}
		}
		g.Entries = append(g.Entries, e)
		return nil
	})
	staleErr := c.temporaries.eachStale(func(path string, info fs.FileInfo) error {
		if !dryRun {
			if err := c.temporaries.remove(path, info); err != nil {
				return err
			}
		}
		g.Temporaries = append(g.Temporaries, Entry{Name: path, Size: info.Size(), Disk: diskOf(info), Used: info.ModTime()})
		return nil
	})
	return g, errors.Join(err, staleErr)
}

// CleanTemporaries removes what processes that died left behind: temporaries,
// also those of the daemon that this one replaces, and records of entries that
// are gone. Temporaries that a living process writes stay. It is meant for the
// start of the daemon.
func (c *Cache) CleanTemporaries() error {
	return errors.Join(c.temporaries.eachStale(c.temporaries.remove), c.records.clean())
}
