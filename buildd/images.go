package buildd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/filecache"
)

// RemoveImage removes a base image from the cache, with what is kept of it for
// later builds: its unpacked root, and what container engines imported. Nothing
// is removed if a build uses it. The daemon may run meanwhile.
func RemoveImage(ctx context.Context, cache *filecache.Cache, l Launcher, r job.StockRequest) (Collection, error) {
	c := Collection{Removed: []Removal{}}
	if err := checkUnused(cache, r.Image); err != nil {
		return c, err
	}
	r.Do = job.StockRemove
	report, err := l.AskStock(ctx, state.Folder(cache.StateDir()), r)
	for _, k := range report.Stock {
		c.add(Removal{Kind: k.Kind, Name: k.Image, Bytes: k.Bytes, Used: k.Used})
	}
	if len(report.Problems) > 0 {
		err = errors.Join(err, errors.New(strings.Join(report.Problems, "; ")))
	}
	if err != nil {
		return c, fmt.Errorf("cannot remove the base image %s: %w", r.Image, err)
	}
	if err := c.removeEntry(cache, r.Image); err != nil {
		return c, err
	}
	if len(c.Removed) == 0 {
		return c, fmt.Errorf("there is no base image %s; 'lpbuildd image list' shows what is there", r.Image)
	}
	return c, nil
}

// removeEntry removes an entry of the cache. A build may have been accepted
// while the rest of the image was removed.
func (c *Collection) removeEntry(cache *filecache.Cache, name string) error {
	entries, err := cache.Entries()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e filecache.Entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	if err := checkUnused(cache, name); err != nil {
		return err
	}
	if err := cache.Remove(name); err != nil {
		return err
	}
	c.add(Removal{Kind: cachedFile, Name: name, Bytes: entries[i].Disk, Used: entries[i].Used})
	return nil
}

// checkUnused refuses what a build uses.
func checkUnused(cache *filecache.Cache, name string) error {
	seen, err := Look(state.Folder(cache.StateDir()))
	if err != nil {
		return err
	}
	if slices.Contains(seen.InUse, name) {
		return fmt.Errorf("cannot remove %s: the build %q (%s) uses it; try again when the manager has cleaned the builder", name, seen.BuildID, seen.State)
	}
	return nil
}
