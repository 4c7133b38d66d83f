package operator

import (
	"context"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
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

// Collect removes what the limits of the configuration do not allow, and what
// processes that died have left, but nothing that a running or waiting build
// uses. A dry run removes nothing. What goes wrong does not keep the rest.
func (b *Builder) Collect(ctx context.Context, dryRun bool) Collection {
	c := Collection{Removed: []Removal{}}
	c.problem(b.collectFiles(ctx, &c, dryRun))
	do := job.StockCollect
	if dryRun {
		do = job.StockList
	}
	report, err := b.Launcher.AskStock(ctx, b.State(), b.stock(do))
	c.problem(err)
	for _, k := range report.Stock {
		if k.Gone {
			c.add(Removal{Kind: k.Kind, Name: k.Image, Bytes: k.Bytes, Used: k.Used})
		}
	}
	c.Problems = append(c.Problems, report.Problems...)
	return c
}

// collectFiles is the part of the file cache. Nothing in it is removed before it
// is known what is in use.
func (b *Builder) collectFiles(ctx context.Context, c *Collection, dryRun bool) error {
	seen, err := buildd.Look(b.State())
	if err != nil {
		return err
	}
	b.Cache.SetInUse(seen.InUse, seen.InUseSince)
	garbage, err := b.Cache.Collect(ctx, dryRun)
	for _, e := range garbage.Entries {
		c.add(Removal{Kind: cachedFile, Name: e.Name, Bytes: e.Disk, Used: e.Used})
	}
	for _, e := range garbage.Temporaries {
		c.add(Removal{Kind: temporaryFile, Name: e.Name, Bytes: e.Disk, Used: e.Used})
	}
	return err
}
