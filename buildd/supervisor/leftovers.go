package supervisor

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
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
)

// homePrefix begins the names of build directories.
const homePrefix = "build-"

// schrootFolder is where schroot's configuration is.
const schrootFolder = "/etc/schroot/chroot.d"

// leftovers removes what dead builds of this builder have left and the ledger does
// not name, because it was damaged, or cut off. It is found by name and mark.
func (c *cleaner) leftovers(ctx context.Context) error {
	errs := []error{c.unfinished(ctx)}
	if c.knowsHome() {
		errs = append(errs, c.homes(ctx), c.schrootFiles())
	}
	if _, err := os.Lstat(state.Build(c.dir).Container()); (err == nil || c.damaged) && c.stays == nil {
		errs = append(errs, c.inEngine(ctx))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove what earlier builds have left: %w", err)
	}
	return nil
}

// found tells people of something that should not be there.
func (c *cleaner) found(what, name string) {
	c.log.Warn("What a dead build has left is removed, though no ledger names it", what, name)
}

// knowsHome says whether there is a HOME to look into, which is the caller's.
func (c *cleaner) knowsHome() bool {
	if c.builder.Home == "" {
		return false
	}
	if err := state.CheckOwner(caller(), c.builder.Home); err != nil {
		c.log.Warn("Cannot look for what dead builds have left in HOME", "error", err)
		return false
	}
	return true
}

// homes removes build directories with the mark of this builder.
func (c *cleaner) homes(ctx context.Context) error {
	var errs []error
	for _, path := range glob(c.builder.Home, homePrefix+"*") {
		if !owns(c.dir, path) {
			continue
		}
		f, err := claim(path)
		if err == nil {
			c.found("folder", path)
			err = errors.Join(discard(ctx, c.dir, path), f.Close())
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
func (c *cleaner) unfinished(ctx context.Context) error {
	var errs []error
	for _, path := range glob(keptStore(c.dir).Dir(), "*"+kept.Unfinished) {
		c.found("folder", path)
		errs = append(errs, discard(ctx, c.dir, path))
	}
	return errors.Join(errs...)
}

// schrootFiles removes files that tell schroot of build directories in this
// builder's HOME that are gone.
func (c *cleaner) schrootFiles() error {
	var errs []error
	for _, path := range glob(schrootFolder, homePrefix+"*") {
		home := filepath.Dir(rootOf(path))
		if filepath.Dir(home) != c.builder.Home || !strings.HasPrefix(filepath.Base(home), homePrefix) {
			continue
		}
		if _, err := os.Lstat(home); err != nil {
			c.found("file", path)
			errs = append(errs, removeFile(path))
		}
	}
	return errors.Join(errs...)
}

// rootOf is the root directory that a file tells schroot of, "" if it tells of
// none in a build directory.
func rootOf(path string) string {
	const plenty = 64 << 10
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // only looked at
	if err != nil {
		return ""
	}
	text, _ := io.ReadAll(io.LimitReader(f, plenty))
	_ = f.Close() // only read
	for line := range strings.Lines(string(text)) {
		root, ok := strings.CutPrefix(strings.TrimSpace(line), "directory=")
		if ok && strings.HasPrefix(filepath.Base(filepath.Dir(root)), homePrefix) {
			return root
		}
	}
	return ""
}

// inEngine removes containers and profiles of this builder, and its network.
func (c *cleaner) inEngine(ctx context.Context) error {
	s, err := c.engine()
	if err != nil || s.Instance == "" || !incus.Installed(engine(s)) {
		return nil // there were no containers, or there is nothing to ask
	}
	ctx, cancel := context.WithTimeout(ctx, undoLimit)
	defer cancel()
	all, err := keptStore(c.dir).List()
	if err != nil {
		return err
	}
	err = incus.CleanInstance(ctx, engine(s), func(name string) bool { return keeps(all, name) }, c.found)
	if err == nil && s.Remote != "" {
		err = incus.Clean(ctx, engine(s), incus.KindNetwork, bridge.NameFor(s.Instance))
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
