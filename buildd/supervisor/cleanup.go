package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Cleanup kills the supervisor whose folder is the working directory, if it
// still runs, and undoes what stands in its ledger. It may be called at any
// time and any number of times.
func Cleanup(ctx context.Context, log *slog.Logger) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	c := &cleaner{dir: dir, log: log, report: func(err error) { log.Error(damaged, "error", err) }}
	if c.builder, err = job.ReadBuilder(state.Build(dir)); err != nil {
		// A daemon from before there was that file.
		log.Warn("Cannot tell where to look for what the ledger does not name", "error", err)
	}
	if err := killChain(ctx, dir, c.report); err != nil {
		return err // what it holds is not to be touched
	}
	if err := c.clean(ctx); err != nil {
		return err
	}
	cgroup.Sweep()
	return errors.Join(removeFile(state.Build(dir).Ledger()), removeFile(state.Build(dir).Supervisor()), removeFile(state.Build(dir).Container()))
}

// damaged is what the log says of a state that was read in part.
const damaged = "What cannot be read is set aside, and the clean-up goes on with what it finds"

// EmptyTrash deletes what builds have left behind for later, for the build
// folder that is the working directory: what was kept of failed builds and is
// due, or takes up the room for need bytes more; what was thrown away; and base
// images that a crash left half unpacked. It takes as long as that takes, and
// disturbs no build.
func EmptyTrash(ctx context.Context, need int64, log *slog.Logger) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	keptErr := expireKept(ctx, keptStore(dir), need, log)
	cleanErr := chroot.CleanRoots(rootsDir(dir)) //nolint:contextcheck // it takes none
	return errors.Join(keptErr, cleanErr, chroot.EmptyTrash(ctx, trashDir(dir)))
}

// cleaner undoes what dead builds have left.
type cleaner struct {
	dir     string // of the build
	builder job.Builder
	log     *slog.Logger
	// report is told of everything that cannot be read.
	report func(error)
	// keepResults leaves results in the file cache.
	keepResults bool

	damaged bool // report was called
	// stays is why something in the engine does. The others stay then too: that one
	// uses them, or the engine hangs, and nobody should have to wait for each.
	stays error
}

// clean undoes the ledger, once no process of that build lives, and then what it
// does not name.
func (c *cleaner) clean(ctx context.Context) error {
	folder := state.Build(c.dir)
	for _, path := range []string{folder.Results(), folder.Container(), folder.Supervisor()} {
		if odd, err := aside.MoveOdd(path); odd || err != nil {
			c.note(errors.Join(fmt.Errorf("%s is no file", filepath.Base(path)), err))
		}
	}
	path := state.Build(c.dir).Ledger()
	if err := state.CheckOwner(roots(), path); err != nil {
		// Somebody else has written it, and it is not to be believed.
		c.note(err)
		if _, err := aside.Move(path); err != nil {
			return err
		}
	}
	return errors.Join(ledger.Clean(path, c.undo(ctx), c.note), c.removeResults(), c.leftovers(ctx))
}

func (c *cleaner) note(err error) {
	c.damaged = true
	c.report(err)
}

// undo says, by kind, how an entry of the ledger is undone.
func (c *cleaner) undo(ctx context.Context) map[ledger.Kind]func(string) error {
	discarded := func(path string) error { return c.discardFolder(ctx, path) }
	removed := c.removeSchrootFile
	if taken, err := takenOver(c.dir); taken || err != nil {
		discarded = func(string) error { return err }
		removed = discarded
	}
	return map[ledger.Kind]func(string) error{
		ledger.Directory: discarded,
		ledger.File:      removed,
		ledger.Token:     func(id string) error { undoToken(ctx, id, c.log); return nil }, //nolint:unparam // all kinds are undone in this way
		ledger.Bridge: func(name string) error {
			if !bridgeName.MatchString(name) {
				return refuse("no build gives such a name")
			}
			return undoBridge(ctx, name)
		},
		ledger.Container: func(name string) error {
			given, err := isKept(c.dir, name)
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
func (c *cleaner) discardFolder(ctx context.Context, path string) error {
	parent, name := filepath.Split(path)
	parent = filepath.Clean(parent)
	isBuild := strings.HasPrefix(name, homePrefix) && (c.builder.Home == "" || parent == c.builder.Home || owns(c.dir, path))
	isKept := parent == keptStore(c.dir).Dir() && strings.HasSuffix(name, kept.Unfinished)
	if path != filepath.Clean(path) || !filepath.IsAbs(path) || strings.ContainsRune(path, 0) || !isBuild && !isKept {
		return refuse("it is no folder of a build")
	}
	return discard(ctx, c.dir, path)
}

// removeSchrootFile removes the file that tells schroot of a build.
func (c *cleaner) removeSchrootFile(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if path != filepath.Clean(path) || filepath.Dir(path) != schrootFolder && rootOf(path) == "" {
		return refuse("it is no file of a build")
	}
	return removeFile(path)
}

// removeInEngine removes something of the container engine.
func (c *cleaner) removeInEngine(ctx context.Context, kind, name string) error {
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
	c.stays = incus.Clean(ctx, engine(s), kind, name)
	return c.stays
}

// engineName is what builds call their containers, profiles and networks, also
// those that are kept.
var engineName = regexp.MustCompile(`^lp[a-zA-Z0-9-]{1,61}$`)

// bridgeName is what package bridge calls bridges.
var bridgeName = regexp.MustCompile(`^lpbuildd[a-z0-9]{1,7}$`)

// engine is how the engine of the last build is reached, or else that of the next.
func (c *cleaner) engine() (job.Container, error) {
	var s job.Container
	err := disk.ReadJSON(state.Build(c.dir).Container(), &s)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.note(err)
	}
	if c.builder.Container == (job.Container{}) {
		return s, fmt.Errorf("cannot tell which container engine was used: %w", err)
	}
	return c.builder.Container, nil
}

// isKept says whether a container is that of a kept build: whoever died between
// writing that down and striking the container out of the ledger has given it
// away.
func isKept(dir, container string) (bool, error) {
	all, err := keptStore(dir).List()
	return keeps(all, container), err
}

// discard moves a folder out of the way, to be deleted later; one on another
// file system is deleted at once. Nothing is mounted below it any more: mounts
// end with the namespace that they were made in.
func discard(ctx context.Context, dir, path string) error {
	trash := trashDir(dir)
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return err
	}
	err := os.Rename(path, filepath.Join(trash, uuid.NewString()))
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, unix.EXDEV):
		return chroot.RemoveTree(ctx, path)
	}
	return fmt.Errorf("cannot remove %s: %w", path, err)
}
