package leftovers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"lpbuildd/backends/incus"
	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Clean undoes the ledger, once no process of that build lives, and then what it
// does not name.
func (c *Cleaner) Clean(ctx context.Context) error {
	for _, path := range []string{c.Dir.Results(), c.Dir.Container(), c.Dir.Supervisor()} {
		if odd, err := aside.MoveOdd(path); odd || err != nil {
			c.note(errors.Join(fmt.Errorf("%s is no file", filepath.Base(path)), err))
		}
	}
	path := c.Dir.Ledger()
	if err := state.CheckOwner(caller.Root(), path); err != nil {
		// Somebody else has written it, and it is not to be believed.
		c.note(err)
		if _, err := aside.Move(path); err != nil {
			return err
		}
	}
	return errors.Join(ledger.Clean(path, c.undo(ctx), c.note), c.removeResults(), c.unnamed(ctx))
}

// undo says, by kind, how an entry of the ledger is undone.
func (c *Cleaner) undo(ctx context.Context) map[ledger.Kind]func(string) error {
	discarded := func(path string) error { return c.discardFolder(ctx, path) }
	removed := c.removeSchrootFile
	if taken, err := takenOver(c.Dir); taken || err != nil {
		discarded = func(string) error { return err }
		removed = discarded
	}
	return map[ledger.Kind]func(string) error{
		ledger.Directory: discarded,
		ledger.File:      removed,
		ledger.Token:     func(id string) error { undoToken(ctx, id, c.Log); return nil }, //nolint:unparam // all kinds are undone in this way
		ledger.Bridge: func(name string) error {
			if !bridgeName.MatchString(name) {
				return refuse("no build gives such a name")
			}
			return undoBridge(ctx, name)
		},
		ledger.Container: func(name string) error {
			given, err := isKept(c.Dir, name)
			if given || err != nil {
				return err
			}
			return c.removeInEngine(ctx, incus.KindContainer, name)
		},
		ledger.Profile: func(name string) error { return c.removeInEngine(ctx, incus.KindProfile, name) },
		ledger.Network: func(name string) error { return c.removeInEngine(ctx, incus.KindNetwork, name) },
	}
}

// refuse is an entry that no build can have made.
func refuse(why string) error { return fmt.Errorf("%w: %s", ledger.ErrRefused, why) }

// discardFolder moves a build directory out of the way, or what was about to be
// kept.
func (c *Cleaner) discardFolder(ctx context.Context, path string) error {
	parent, name := filepath.Split(path)
	parent = filepath.Clean(parent)
	isBuild := strings.HasPrefix(name, HomePrefix) && (c.Builder.Home == "" || parent == c.Builder.Home || owns(c.Dir, path))
	isKept := parent == kept.In(c.Dir.State()).Dir() && strings.HasSuffix(name, kept.Unfinished)
	if path != filepath.Clean(path) || !filepath.IsAbs(path) || strings.ContainsRune(path, 0) || !isBuild && !isKept {
		return refuse("it is no folder of a build")
	}
	return Discard(ctx, c.Dir.State(), path)
}

// removeSchrootFile removes the file that tells schroot of a build.
func (c *Cleaner) removeSchrootFile(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if path != filepath.Clean(path) || filepath.Dir(path) != schrootFolder && rootOf(path) == "" {
		return refuse("it is no file of a build")
	}
	return disk.Remove(path)
}

// removeInEngine removes something of the container engine.
func (c *Cleaner) removeInEngine(ctx context.Context, kind, name string) error {
	if !engineName.MatchString(name) {
		return refuse("no build gives such a name")
	}
	if c.stays != nil {
		return c.stays
	}
	s, err := c.engine()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, undoLimit)
	defer cancel()
	c.stays = incus.Clean(ctx, Engine(s), kind, name)
	return c.stays
}

// engineName is what builds call their containers, profiles and networks, also
// those that are kept.
var engineName = regexp.MustCompile(`^lp[a-zA-Z0-9-]{1,61}$`)

// bridgeName is what package bridge calls bridges.
var bridgeName = regexp.MustCompile(`^lpbuildd[a-z0-9]{1,7}$`)

// isKept says whether a container is that of a kept build: whoever died between
// writing that down and striking the container out of the ledger has given it
// away.
func isKept(dir state.Build, container string) (bool, error) {
	all, err := kept.In(dir.State()).List()
	return keeps(all, container), err
}
