package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
	"lpbuildd/ordered"
)

// home is the build directory, <HOME>/build-<id>.
type home struct {
	path  string
	dir   state.Build // the build's folder in the state folder
	files ordered.Map[string]
	// claimed is the lock on it; foreign says that another builder has one with
	// this name.
	claimed *disk.Lock
	foreign bool
}

// inputs maps the names of the input files to the links to them.
func (h *home) inputs() map[string]string {
	paths := map[string]string{}
	for _, name := range h.files.Names() {
		paths[name] = filepath.Join(h.path, name)
	}
	return paths
}

// create makes the build directory for its user. One that is there already is the
// rest of a build whose clean-up was left to a reset of the machine.
func (h *home) create(ctx context.Context, k *books, a account) error {
	all, err := lockParent(ctx, filepath.Dir(h.path))
	if err != nil {
		return err
	}
	defer func() { _ = all.Close() }()
	if err := h.discardOld(ctx); err != nil {
		return fmt.Errorf("cannot remove the rest of an earlier build: %w", err)
	}
	if err := k.record(string(ledger.Directory), h.path); err != nil {
		return err
	}
	if err := os.Mkdir(h.path, 0o755); err != nil { // sbuild's user must get through
		return err
	}
	if h.claimed, err = leftovers.Claim(h.path); err != nil {
		return err
	}
	if err := leftovers.Mark(h.path, h.dir); err != nil {
		return err
	}
	// Links are checked names in a folder that nobody else can write to yet.
	for _, file := range h.files {
		source, err := k.cache.Path(file.Value)
		if err == nil {
			err = os.Symlink(source, filepath.Join(h.path, file.Name))
		}
		if err != nil {
			return err
		}
	}
	// HOME is the build user's, who must not be given what a link points at.
	return os.Lchown(h.path, int(a.uid), int(a.gid))
}

// parentWait is how long another builder may be busy with making its folder.
const parentWait = 10 * time.Second

// lockParent locks the folder in which build directories are made, until it is
// closed.
func lockParent(ctx context.Context, path string) (*disk.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, parentWait)
	defer cancel()
	lock, err := disk.Await(ctx, 5*time.Millisecond, func() (*disk.Lock, error) { return disk.LockFolder(path) })
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return lock, nil
}

// discardOld moves the rest of an earlier build with the same id away, but never
// what somebody works in.
func (h *home) discardOld(ctx context.Context) error {
	old, err := leftovers.Claim(h.path)
	if errors.Is(err, leftovers.ErrClaimed) {
		h.foreign = true
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot make %s: %w", h.path, leftovers.ErrClaimed),
			Advice: "Wait until that build has ended, or abort it; then try again.",
		}
	}
	if old != nil {
		defer func() { _ = old.Close() }()
	}
	return leftovers.Discard(ctx, h.dir.State(), h.path)
}
