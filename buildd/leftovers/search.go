package leftovers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// HomePrefix begins the names of build directories.
const HomePrefix = "build-"

// schrootFolder is where schroot's configuration is.
const schrootFolder = "/etc/schroot/chroot.d"

// unnamed removes what dead builds of this builder have left and the ledger does
// not name, because it was damaged, or cut off. It is found by name and mark.
func (c *Cleaner) unnamed(ctx context.Context) error {
	errs := []error{c.unfinished(ctx)}
	if c.knowsHome() {
		errs = append(errs, c.homes(ctx), c.schrootFiles())
	}
	if _, err := os.Lstat(c.Dir.Container()); (err == nil || c.damaged) && c.stays == nil {
		errs = append(errs, c.inEngine(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove what earlier builds have left: %w", err)
	}
	return nil
}

// found tells people of something that should not be there.
func (c *Cleaner) found(what, name string) {
	c.Log.Warn("What a dead build has left is removed, though no ledger names it", what, name)
}

// knowsHome says whether there is a HOME to look into, which is the caller's.
func (c *Cleaner) knowsHome() bool {
	if c.Builder.Home == "" {
		return false
	}
	if err := state.CheckOwner(caller.UID(), c.Builder.Home); err != nil {
		c.Log.Warn("Cannot look for what dead builds have left in HOME", "error", err)
		return false
	}
	return true
}

// homes removes build directories with the mark of this builder.
func (c *Cleaner) homes(ctx context.Context) error {
	var errs []error
	for _, path := range glob(c.Builder.Home, HomePrefix+"*") {
		if !owns(c.Dir, path) {
			continue
		}
		f, err := Claim(path)
		if err == nil {
			c.found("folder", path)
			err = errors.Join(Discard(ctx, c.Dir.State(), path), f.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// glob lists what has such a name in a folder, whatever the folder is called.
func glob(dir, pattern string) []string {
	entries, _ := os.ReadDir(dir) // one that cannot be read has nothing to find
	var paths []string
	for _, e := range entries {
		if ok, err := filepath.Match(pattern, e.Name()); ok && err == nil {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}

// unfinished removes what was about to be kept.
func (c *Cleaner) unfinished(ctx context.Context) error {
	var errs []error
	for _, path := range glob(kept.In(c.Dir.State()).Dir(), "*"+kept.Unfinished) {
		c.found("folder", path)
		errs = append(errs, Discard(ctx, c.Dir.State(), path))
	}
	return errors.Join(errs...)
}

// schrootFiles removes files that tell schroot of build directories in this
// builder's HOME that are gone.
func (c *Cleaner) schrootFiles() error {
	var errs []error
	for _, path := range glob(schrootFolder, HomePrefix+"*") {
		home := filepath.Dir(rootOf(path))
		if filepath.Dir(home) != c.Builder.Home || !strings.HasPrefix(filepath.Base(home), HomePrefix) {
			continue
		}
		if _, err := os.Lstat(home); err != nil {
			c.found("file", path)
			errs = append(errs, disk.Remove(path))
		}
	}
	return errors.Join(errs...)
}

// rootOf is the root directory that a file tells schroot of, "" if it tells of
// none in a build directory.
func rootOf(path string) string {
	const plenty = 64 << 10
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(io.LimitReader(f, plenty))
	_ = f.Close() // only read
	for line := range strings.Lines(string(text)) {
		root, ok := strings.CutPrefix(strings.TrimSpace(line), "directory=")
		if ok && strings.HasPrefix(filepath.Base(filepath.Dir(root)), HomePrefix) {
			return root
		}
	}
	return ""
}

// inEngine removes containers and profiles of this builder, and its network.
func (c *Cleaner) inEngine(ctx context.Context) error {
	s, err := c.engine()
	if err != nil || s.Instance == "" || !incus.Installed(Engine(s)) {
		return nil // there were no containers, or there is nothing to ask
	}
	ctx, cancel := context.WithTimeout(ctx, undoLimit)
	defer cancel()
	all, err := kept.In(c.Dir.State()).List()
	if err != nil {
		return err
	}
	err = incus.CleanInstance(ctx, Engine(s), func(name string) bool { return keeps(all, name) }, c.found)
	if err == nil && s.Remote != "" {
		err = incus.Clean(ctx, Engine(s), incus.KindNetwork, bridge.NameFor(s.Instance))
	}
	if err == nil && s.Remote == "" {
		err = undoBridge(ctx, bridge.NameFor(s.Instance))
	}
	return err
}

// keeps says whether a container is one of those that are kept.
func keeps(all []kept.Record, container string) bool {
	return slices.ContainsFunc(all, func(r kept.Record) bool { return r.Container == container })
}
