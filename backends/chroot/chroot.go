// Package chroot is run by root, inside the namespaces of a build or of a visit,
// and outside only to look after what stays: it runs builds in a root directory on
// the host: an overlay on a root that was unpacked once for its image, or, where
// the kernel cannot do that, a directory unpacked for this build (spec: backends.md
// section 3).
//
// It must be used as root, in a mount namespace from which nothing propagates
// to the host's, so that mounts cannot outlive a crash. Paths inside a root
// are always resolved by the kernel within it, since a build can plant
// symbolic links.
//
// Base images stay unpacked in a folder of their own (Config.RootsDir), by the
// SHA-1 of the image, and are never changed. See roots.go.
package chroot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// Chroot implements backends.Lifecycle.
type Chroot struct {
	cfg         Config
	host        backends.Host
	personality []string
	// personalityErr is reported by Run, since only commands need to know.
	personalityErr error
	// base is the unpacked image below the overlay, nil without one.
	base *heldRoot
}

var _ backends.Lifecycle = (*Chroot)(nil)

// New prepares a Chroot and touches nothing. It is an error when the folder
// that BuildDir is in does not exist.
func New(cfg Config) (*Chroot, error) {
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	// The kernel shows real paths of mounts and processes, so we need them too.
	parent, err := filepath.EvalSymlinks(filepath.Dir(cfg.BuildDir))
	if err != nil {
		return nil, fmt.Errorf("cannot use the build directory %s: %w", cfg.BuildDir, err)
	}
	if cfg.BuildDir, err = filepath.Abs(filepath.Join(parent, filepath.Base(cfg.BuildDir))); err != nil {
		return nil, fmt.Errorf("cannot use the build directory %s: %w", cfg.BuildDir, err)
	}
	c := &Chroot{cfg: cfg, host: backends.Host{Dir: "/", Home: "/root"}}
	c.personality, c.personalityErr = backends.Personality(cfg.Arch, cfg.Series)
	return c, nil
}

// Root is the root directory on the host. It exists from Create to Remove.
func (c *Chroot) Root() string { return c.cfg.root() }

// Create makes the root directory from an image of type "chroot".
func (c *Chroot) Create(ctx context.Context, image backends.Image) error {
	if image.Type != "chroot" {
		return fmt.Errorf("cannot make a chroot from an image of type %q: only \"chroot\" is known", image.Type)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if c.cfg.Overlay {
		err := overlay{c.cfg}.prepare(ctx)
		if err == nil {
			return c.createOverlay(ctx, image)
		}
		c.cfg.Log.Warn("Overlay is not possible", "error", err)
		c.cfg.Notice(fmt.Sprintf("Unpacking the base image for this build alone, as overlays do not work here: %v", err))
	}
	return c.createPlain(ctx, image)
}

// createPlain unpacks the image for this build alone. It does so in a folder
// of its own, so that an image cannot bring files into the build directory.
func (c *Chroot) createPlain(ctx context.Context, image backends.Image) error {
	dir := filepath.Join(c.cfg.BuildDir, ".unpack")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot make the chroot: %w", err))
	}
	if err := unpackRoot(ctx, image, dir); err != nil {
		return err
	}
	// An empty folder may be there from an attempt to mount an overlay.
	_ = os.Remove(c.Root())
	if err := os.Rename(filepath.Join(dir, topFolder), c.Root()); err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot make the chroot: %w", err))
	}
	return RemoveTree(ctx, dir)
}

// createOverlay mounts an overlay on the unpacked image.
func (c *Chroot) createOverlay(ctx context.Context, image backends.Image) error {
	cache := rootCache{dir: c.cfg.RootsDir, trash: c.cfg.TrashDir, most: c.cfg.MaxRoots, log: c.cfg.Log}
	base, err := cache.acquire(ctx, image)
	if err != nil {
		return err
	}
	c.base = base
	return overlay{c.cfg}.mount(base.path())
}

// Stop unmounts everything below the root. Processes must be gone; a mount
// that stays busy is detached, with a notice. Stop can be called again.
func (c *Chroot) Stop(ctx context.Context) error {
	if err := unmount(ctx, c.cfg, c.Root()); err != nil {
		return fmt.Errorf("Failed to unmount %s: %w", c.Root(), err) // spec: backends.md section 3 fixes this text
	}
	return nil
}

// Remove unmounts the overlay and moves the build directory to the trash, or
// deletes it. It waits until a newly unpacked image is safely on disk. Remove
// can be called again.
func (c *Chroot) Remove(ctx context.Context) error {
	if err := unmount(ctx, c.cfg, c.cfg.BuildDir); err != nil {
		return fmt.Errorf("Failed to unmount %s: %w", c.Root(), err)
	}
	err := discard(ctx, c.cfg.BuildDir, c.cfg.TrashDir)
	if c.base != nil {
		err = errors.Join(err, c.base.release())
		c.base = nil
	}
	return err
}
