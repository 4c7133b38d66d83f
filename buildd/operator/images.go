package operator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"lpbuildd/backends/archive"
	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// Image is a base image of a builder.
type Image struct {
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

// Images lists the base images of a builder, the most recently used first: what
// is in the cache, and what is kept of others. The problems are those of the
// latter.
func (b *Builder) Images(ctx context.Context) (images []Image, problems []string, err error) {
	if images, err = b.cachedImages(ctx); err != nil {
		return nil, nil, err
	}
	report, err := b.Launcher.AskStock(ctx, b.State(), b.stock(job.StockList))
	if err != nil {
		report.Problems = append(report.Problems, err.Error())
	}
	for _, k := range report.Stock {
		images = addStock(images, k)
	}
	slices.SortStableFunc(images, func(a, b Image) int { return b.Used.Compare(a.Used) })
	return images, report.Problems, nil
}

// cachedImages lists the base images in the cache, the least recently used first.
func (b *Builder) cachedImages(ctx context.Context) ([]Image, error) {
	seen, err := buildd.Look(b.State())
	if err != nil {
		return nil, err
	}
	entries, err := b.Cache.Entries()
	if err != nil {
		return nil, err
	}
	images := []Image{}
	for _, e := range entries {
		if !filecache.IsSHA1(e.Name) {
			continue
		}
		kind, err := archive.ImageType(ctx, filepath.Join(b.Cache.Dir(), e.Name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the daemon has removed it meanwhile
		}
		if err != nil {
			return nil, err
		}
		if kind != "" {
			images = append(images, Image{
				SHA1: e.Name, Cached: true, Type: kind, Bytes: e.Size, Used: e.Used, InUse: slices.Contains(seen.InUse, e.Name),
			})
		}
	}
	return images, nil
}

// addStock adds what is kept of an image to a list.
func addStock(images []Image, k job.Stock) []Image {
	if k.Image == "" {
		return images
	}
	i := slices.IndexFunc(images, func(image Image) bool { return image.SHA1 == k.Image })
	if i < 0 {
		i = len(images)
		images = append(images, Image{SHA1: k.Image, Used: k.Used})
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

// FindChroot is the path of a base image to build in: a file, or the SHA-1 of one
// in the cache, or "" for the one of the cache that was used last. It is "" if
// there is none.
func (b *Builder) FindChroot(ctx context.Context, image string) (string, error) {
	const chroot = "chroot"
	path := image
	switch {
	case path == "":
		images, err := b.cachedImages(ctx)
		newest := ""
		for _, image := range images {
			if image.Type == chroot {
				newest = filepath.Join(b.Cache.Dir(), image.SHA1)
			}
		}
		return newest, err
	case filecache.IsSHA1(path):
		path = filepath.Join(b.Cache.Dir(), path)
	}
	kind, err := archive.ImageType(ctx, path)
	if err == nil && kind != chroot {
		err = errors.New("it is no tarball whose top folder is chroot-autobuild")
	}
	if err != nil {
		return "", fmt.Errorf("cannot build in %s: %w; 'lpbuildd image list' shows what is in the cache", image, err)
	}
	return filepath.Abs(path)
}

// CheckSHA1 refuses what cannot be the name of an image.
func CheckSHA1(name string) error {
	if filecache.IsSHA1(name) {
		return nil
	}
	return fmt.Errorf("%q is no SHA-1 of 40 lower-case hexadecimal digits; 'lpbuildd image list' shows those of the images", name)
}
