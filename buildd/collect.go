package buildd

import (
	"context"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/filecache"
)

// Removal is one thing that Collect has removed, or would remove.
type Removal struct {
	// Kind says what it is, for people.
	Kind string `json:"kind"`
	// Name tells it from others of its kind, mostly by a SHA-1; "" for the trash.
	Name  string    `json:"name,omitempty"`
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"used,omitzero"`
}

// Collection is what Collect did.
type Collection struct {
	Removed []Removal `json:"removed"`
	// Bytes is the sum.
	Bytes int64 `json:"bytes"`
	// Problems are what could not be looked at or removed, one line each.
	Problems []string `json:"problems,omitempty"`
}

func (c *Collection) add(r Removal) {
	c.Removed = append(c.Removed, r)
	c.Bytes += r.Bytes
}

func (c *Collection) problem(err error) {
	if err != nil {
		c.Problems = append(c.Problems, err.Error())
	}
}

// Kinds of a Removal beside those of package job.
const (
	cachedFile    = "cached file"
	temporaryFile = "temporary file"
)

// Collect removes what the limits of the cache's options and of the request do
// not allow, and what processes that died have left, but nothing that a running
// or waiting build uses. It may be called while the daemon runs. A dry run
// removes nothing. What goes wrong does not keep the rest.
func Collect(ctx context.Context, cache *filecache.Cache, l Launcher, r job.StockRequest, dryRun bool) Collection {
	c := Collection{Removed: []Removal{}}
	c.problem(c.files(ctx, cache, dryRun))
	r.Do = job.StockCollect
	if dryRun {
		r.Do = job.StockList
	}
	report, err := l.AskStock(ctx, state.Folder(cache.StateDir()), r)
	c.problem(err)
	for _, k := range report.Stock {
		if k.Gone {
			c.add(Removal{Kind: k.Kind, Name: k.Image, Bytes: k.Bytes, Used: k.Used})
		}
	}
	c.Problems = append(c.Problems, report.Problems...)
	return c
}

// files is the part of the file cache. Nothing in it is removed before it is
// known what is in use.
func (c *Collection) files(ctx context.Context, cache *filecache.Cache, dryRun bool) error {
	seen, err := Look(state.Folder(cache.StateDir()))
	if err != nil {
		return err
	}
	cache.SetInUse(seen.InUse, seen.InUseSince)
	garbage, err := cache.Collect(ctx, dryRun)
	for _, e := range garbage.Entries {
		c.add(Removal{Kind: cachedFile, Name: e.Name, Bytes: e.Disk, Used: e.Used})
	}
	for _, e := range garbage.Temporaries {
		c.add(Removal{Kind: temporaryFile, Name: e.Name, Bytes: e.Disk, Used: e.Used})
	}
	return err
}
