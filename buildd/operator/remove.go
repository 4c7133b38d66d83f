package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// RemoveImage removes a base image from the cache, with what is kept of it for
// later builds: its unpacked root, and what container engines imported. Nothing
// is removed if a build uses it.
func (b *Builder) RemoveImage(ctx context.Context, sha1 string) (Collection, error) {
	c := Collection{Removed: []Removal{}}
	if err := b.checkUnused(sha1); err != nil {
		return c, err
	}
	request := b.stock(job.StockRemove)
	request.Image = sha1
	report, err := b.Launcher.AskStock(ctx, b.State(), request)
	for _, k := range report.Stock {
		c.add(Removal{Kind: k.Kind, Name: k.Image, Bytes: k.Bytes, Used: k.Used})
	}
	if len(report.Problems) > 0 {
		err = errors.Join(err, errors.New(strings.Join(report.Problems, "; ")))
	}
	if err != nil {
		return c, fmt.Errorf("cannot remove the base image %s: %w", sha1, err)
	}
	if err := b.removeEntry(&c, sha1); err != nil {
		return c, err
	}
	if len(c.Removed) == 0 {
		return c, fmt.Errorf("there is no base image %s; 'lpbuildd image list' shows what is there", sha1)
	}
	return c, nil
}

// removeEntry removes an entry of the cache. A build may have been accepted
// while the rest of the image was removed.
func (b *Builder) removeEntry(c *Collection, name string) error {
	entries, err := b.Cache.Entries()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(e filecache.Entry) bool { return e.Name == name })
	if i < 0 {
		return nil
	}
	if err := b.checkUnused(name); err != nil {
		return err
	}
	if err := b.Cache.Remove(name); err != nil {
		return err
	}
	c.add(Removal{Kind: cachedFile, Name: name, Bytes: entries[i].Disk, Used: entries[i].Used})
	return nil
}

// checkUnused refuses what a build uses.
func (b *Builder) checkUnused(name string) error {
	seen, err := buildd.Look(b.State())
	if err != nil {
		return err
	}
	if slices.Contains(seen.InUse, name) {
		return fmt.Errorf("cannot remove %s: the build %q (%s) uses it; try again when the manager has cleaned the builder", name, seen.BuildID, seen.State)
	}
	return nil
}
