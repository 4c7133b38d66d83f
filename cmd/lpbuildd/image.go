package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/backends/archive"
	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// newImageCommand returns the command `image` with its subcommands.
func newImageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image COMMAND",
		Short: "Look after the base images in the file cache",
		Long: `Look after the base images in the file cache.

A manager has its images fetched by itself; adding one spares its first build the
download, or gives 'lpbuildd selftest' something to build in. Images are named by
their SHA-1.`,
		Args: cobra.NoArgs,
		RunE: help,
	}
	addOperatorFlags(cmd.PersistentFlags())
	cmd.AddCommand(newImageAddCommand(), newImageListCommand(), newImageVerifyCommand(), newImageRmCommand())
	return cmd
}

// baseImage is a base image of a builder.
type baseImage struct {
	SHA1 string `json:"sha1"`
	// Cached says that it is in the cache, as what Type says: "chroot" or "lxd".
	Cached bool      `json:"cached"`
	Type   string    `json:"type,omitempty"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used,omitzero"`
	// InUse says that a build uses it.
	InUse bool `json:"in_use"`
	// Unpacked is what its unpacked root takes on the disk, 0 without one.
	Unpacked int64 `json:"unpacked"`
	// Imported are the container engines that have it.
	Imported []string `json:"imported,omitempty"`
}

// images lists the base images of a builder, the most recently used first: what
// is in the cache, and what is kept of others. The problems are those of the
// latter.
func (s *site) images(ctx context.Context) (images []baseImage, problems []string, err error) {
	if images, err = s.cachedImages(ctx); err != nil {
		return nil, nil, err
	}
	launcher, err := newLauncher()
	if err != nil {
		return nil, nil, err
	}
	request := s.stock()
	request.Do = job.StockList
	report, err := launcher.AskStock(ctx, s.state(), request)
	if err != nil {
		report.Problems = append(report.Problems, err.Error())
	}
	for _, k := range report.Stock {
		images = addStock(images, k)
	}
	slices.SortStableFunc(images, func(a, b baseImage) int { return b.Used.Compare(a.Used) })
	return images, report.Problems, nil
}

// cachedImages lists the base images in the cache.
func (s *site) cachedImages(ctx context.Context) ([]baseImage, error) {
	seen, err := buildd.Look(s.state())
	if err != nil {
		return nil, err
	}
	entries, err := s.cache.Entries()
	if err != nil {
		return nil, err
	}
	images := []baseImage{}
	for _, e := range entries {
		if !filecache.IsSHA1(e.Name) {
			continue
		}
		kind, err := archive.ImageType(ctx, filepath.Join(s.cache.Dir(), e.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the daemon has removed it meanwhile
		}
		if err != nil {
			return nil, err
		}
		if kind != "" {
			images = append(images, baseImage{
				SHA1: e.Name, Cached: true, Type: kind, Bytes: e.Size, Used: e.Used, InUse: slices.Contains(seen.InUse, e.Name),
			})
		}
	}
	return images, nil
}

// addStock adds what is kept of an image to a list.
func addStock(images []baseImage, k job.Stock) []baseImage {
	if k.Image == "" {
		return images
	}
	i := slices.IndexFunc(images, func(image baseImage) bool { return image.SHA1 == k.Image })
	if i < 0 {
		i = len(images)
		images = append(images, baseImage{SHA1: k.Image, Used: k.Used})
	}
	images[i].InUse = images[i].InUse || k.InUse
	switch k.Kind {
	case job.StockRoot, job.StockTorn:
		images[i].Unpacked = k.Bytes
	case job.StockImage:
		if !slices.Contains(images[i].Imported, k.Engine) {
			images[i].Imported = append(images[i].Imported, k.Engine)
		}
	}
	return images
}

// checkSHA1 refuses what cannot be the name of an image.
func checkSHA1(name string) error {
	if filecache.IsSHA1(name) {
		return nil
	}
	return fmt.Errorf("%q is no SHA-1 of 40 lower-case hexadecimal digits; 'lpbuildd image list' shows those of the images", name)
}

// dash stands for nothing in a table.
func dash(text string) string { return cmp.Or(text, "-") }
