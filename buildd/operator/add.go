package operator

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"lpbuildd/backends/archive"
	"lpbuildd/buildd"
	"lpbuildd/filecache"
)

// AddImage puts an image, a file or what a URL names, into the cache and returns
// its SHA-1.
func (b *Builder) AddImage(ctx context.Context, place string) (string, error) {
	if !strings.Contains(place, "://") {
		// Better to know before it is copied.
		if err := checkImage(ctx, place, place); err != nil {
			return "", err
		}
	}
	// What is imported may evict what is old, but nothing that a build uses.
	seen, err := buildd.Look(b.State())
	if err != nil {
		return "", err
	}
	b.Cache.SetInUse(seen.InUse, seen.InUseSince)
	stored, err := b.Cache.Import(ctx, place)
	if err != nil {
		return "", err
	}
	if err := checkImage(ctx, filepath.Join(b.Cache.Dir(), stored.SHA1), place); err != nil {
		return "", b.takeBack(stored, err)
	}
	return stored.SHA1, nil
}

// takeBack removes what turned out not to be an image, unless it was there
// before.
func (b *Builder) takeBack(stored filecache.Stored, err error) error {
	if !stored.New {
		return err
	}
	return errors.Join(err, b.Cache.Remove(stored.SHA1))
}

// checkImage refuses what is no base image.
func checkImage(ctx context.Context, path, place string) error {
	kind, err := archive.ImageType(ctx, path)
	if err == nil && kind == "" {
		err = errors.New("it is no base image: want a tarball whose top folder is chroot-autobuild, or an image of LXD or Incus in one file")
	}
	if err != nil {
		return fmt.Errorf("cannot add %s: %w", place, err)
	}
	return nil
}
