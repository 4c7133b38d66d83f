package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/filecache"
)

func newImageVerifyCommand() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "verify [SHA1...]",
		Short: "Read base images again, and report those that are damaged",
		Long: `Read base images again, and report those whose content does not have their SHA-1;
the exit code is 1 then. Where none is named, every file of the cache that is named
by a SHA-1 is read: a damaged image need not look like one any more.

The daemon reads a file when it is first asked for after a start, and trusts it
from then on: a disk that damages it later goes unnoticed. Once a damaged image is
removed, with --remove or 'lpbuildd image rm', the next ensurepresent() of the
manager fetches it again, and the next build unpacks and imports it anew.`,
		Example: "  lpbuildd image verify\n  lpbuildd image verify --remove 3f786850e387550fdab836ed7e6dc881de23001b",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSite(cmd, "verify base images")
			if err != nil {
				return err
			}
			defer s.close()
			names, err := s.promising(args)
			if err != nil {
				return err
			}
			v := verification{site: s, out: cmd.OutOrStdout(), remove: remove}
			return v.all(cmd.Context(), names)
		},
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "remove damaged images, so that they are fetched again")
	return cmd
}

// promising are the names that were given, else those of all files in the cache
// that promise their content.
func (s *site) promising(given []string) ([]string, error) {
	for _, name := range given {
		if err := checkSHA1(name); err != nil {
			return nil, err
		}
	}
	if len(given) > 0 {
		return given, nil
	}
	entries, err := s.cache.Entries()
	for _, e := range entries {
		if filecache.IsSHA1(e.Name) {
			given = append(given, e.Name)
		}
	}
	return given, err
}

// verification reads images and says what is wrong with them.
type verification struct {
	site   *site
	out    io.Writer
	remove bool
}

// all verifies these images. It goes on after a damaged one.
func (v verification) all(ctx context.Context, names []string) error {
	bad := 0
	for _, name := range names {
		ok, err := v.one(ctx, name)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !ok {
			bad++
		}
		if err != nil {
			fmt.Fprintln(v.out, "        ", err)
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d file(s) are damaged or cannot be read", bad, len(names))
	}
	fmt.Fprintf(v.out, "%d file(s) are sound\n", len(names))
	return nil
}

// one verifies one image. The error says more of one that is not sound.
func (v verification) one(ctx context.Context, name string) (bool, error) {
	stored, err := v.site.cache.Rehash(ctx, name)
	if err != nil {
		fmt.Fprintln(v.out, "unread  ", name)
		return false, fmt.Errorf("%w; 'lpbuildd image list' shows what is there", err)
	}
	if stored.SHA1 == name {
		fmt.Fprintln(v.out, "sound   ", name)
		return true, nil
	}
	fmt.Fprintf(v.out, "damaged  %s: its content has the SHA-1 %s\n", name, stored.SHA1)
	if !v.remove {
		return false, fmt.Errorf("'lpbuildd image rm %s' removes it; the next ensurepresent() fetches it again", name)
	}
	launcher, err := newLauncher()
	if err != nil {
		return false, err
	}
	request := v.site.stock()
	request.Image = name
	if _, err := buildd.RemoveImage(ctx, v.site.cache, launcher, request); err != nil {
		return false, err
	}
	return false, errors.New("removed; the next ensurepresent() fetches it again")
}
