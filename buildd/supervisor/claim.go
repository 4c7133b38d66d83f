package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// Several builders on a machine share HOME, and a manager may give a build that
// it believes lost to another of them. So the supervisor holds a lock on the
// folder of its build; it ends with the process.

// errClaimed reports that another process holds the lock on a folder.
var errClaimed = errors.New("another builder on this machine works on a build with this id")

// claim locks a folder. The lock ends when the file is closed.
func claim(path string) (*disk.Lock, error) {
	lock, err := disk.LockFolder(path)
	if errors.Is(err, disk.ErrLocked) {
		err = errClaimed
	}
	return lock, err
}

// claimWait is how long another builder may be busy with making its folder.
const claimWait = 10 * time.Second

// claimHome claims the folder in which build directories are made, until it is
// closed.
func (b *build) claimHome(ctx context.Context) (*disk.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	home := b.request.Settings.Home
	lock, err := disk.Await(ctx, 5*time.Millisecond, func() (*disk.Lock, error) { return disk.LockFolder(home) })
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", home, err)
	}
	return lock, nil
}

// discardOldHome moves the rest of an earlier build with the same id away, but
// never what somebody works in.
func (b *build) discardOldHome(ctx context.Context) error {
	old, err := claim(b.home)
	if errors.Is(err, errClaimed) {
		b.foreign = true
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot make %s: %w", b.home, errClaimed),
			Advice: "Wait until that build has ended, or abort it; then try again.",
		}
	}
	if old != nil {
		defer func() { _ = old.Close() }()
	}
	return discard(ctx, b.dir, b.home)
}

// markName is a link in a build directory that tells whose it is: its text is
// the folder of the build in the state folder of the builder. A link is there as
// a whole or not at all.
const markName = ".lpbuildd"

// mark says that a build directory is that of the builder with the folder dir.
func mark(home, dir string) error { return os.Symlink(dir, filepath.Join(home, markName)) }

// owns says whether a build directory has the mark of the builder with the
// folder dir.
func owns(dir, home string) bool {
	owner, err := os.Readlink(filepath.Join(home, markName))
	return err == nil && owner == dir
}

// takenOver says whether another builder works on the build whose ledger is in
// dir. What has the names in it then is not this builder's any more. It is an
// error if a build of this builder still holds its folder.
func takenOver(dir string) (bool, error) {
	entries, _ := ledger.Read(state.Build(dir).Ledger()) // what cannot be read names nothing
	for _, e := range entries {
		if e.Kind != ledger.Directory || !filepath.IsAbs(e.Name) {
			continue
		}
		f, err := claim(e.Name)
		switch {
		case errors.Is(err, errClaimed) && owns(dir, e.Name):
			return false, fmt.Errorf("a process of the build that has ended still works in %s", e.Name)
		case errors.Is(err, errClaimed):
			return true, nil
		case f != nil:
			_ = f.Close()
		}
	}
	return false, nil
}
