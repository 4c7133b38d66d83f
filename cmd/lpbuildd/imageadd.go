package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lpbuildd/backends/archive"
	"lpbuildd/buildd"
	"lpbuildd/filecache"
)

func newImageAddCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "add FILE|URL",
		Short: "Put a base image into the file cache and print its SHA-1",
		Long: `Put a base image into the file cache and print its SHA-1.

A base image is a tarball, of any compression, whose top folder is
chroot-autobuild, or an image of LXD or Incus in one file. It is copied, and
belongs to the daemon's user. It stays for as long as the limits of the cache
allow, like a file that a manager had fetched.`,
		Example: `  lpbuildd image add chroot-noble-amd64.tar.gz
  lpbuildd image add https://images.example/chroot-noble-amd64.tar.gz`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSite(cmd, "add a base image")
			if err != nil {
				return err
			}
			defer s.close()
			sha1, err := s.addImage(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), sha1)
			return err
		},
	}
}

// addImage puts an image into the cache and returns its SHA-1.
func (s *site) addImage(ctx context.Context, place string) (string, error) {
	if !strings.Contains(place, "://") {
		// Better to know before it is copied.
		if err := checkImage(ctx, place, place); err != nil {
			return "", err
		}
	}
	// What is imported may evict what is old, but nothing that a build uses.
	seen, err := buildd.Look(s.state())
	if err != nil {
		return "", err
	}
	s.cache.SetInUse(seen.InUse, seen.InUseSince)
	stored, err := s.cache.Import(ctx, place)
	if err != nil {
		return "", err
	}
	if err := checkImage(ctx, filepath.Join(s.cache.Dir(), stored.SHA1), place); err != nil {
		return "", s.takeBack(stored, err)
	}
	return stored.SHA1, nil
}

// takeBack removes what turned out not to be an image, unless it was there
// before.
func (s *site) takeBack(stored filecache.Stored, err error) error {
	if !stored.New {
		return err
	}
	return errors.Join(err, s.cache.Remove(stored.SHA1))
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
