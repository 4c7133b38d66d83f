package leftovers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Several builders on a machine share HOME, and a manager may give a build that
// it believes lost to another of them. So the supervisor holds a lock on the
// folder of its build; it ends with the process.

// ErrClaimed reports that another process holds the lock on a folder.
var ErrClaimed = errors.New("another builder on this machine works on a build with this id")

// Claim locks a folder. The lock ends when the file is closed.
func Claim(path string) (*disk.Lock, error) {
	lock, err := disk.LockFolder(path)
	if errors.Is(err, disk.ErrLocked) {
		err = ErrClaimed
	}
	return lock, err
}

// markName is a link in a build directory that tells whose it is: its text is
// the folder of the build in the state folder of the builder. A link is there as
// a whole or not at all.
const markName = ".lpbuildd"

// Mark says that a build directory is that of the builder with the folder dir.
func Mark(home string, dir state.Build) error {
	return os.Symlink(dir.Path(), filepath.Join(home, markName))
}

// owns says whether a build directory has the mark of the builder with the
// folder dir.
func owns(dir state.Build, home string) bool {
	owner, err := os.Readlink(filepath.Join(home, markName))
	return err == nil && owner == dir.Path()
}

// takenOver says whether another builder works on the build whose ledger is in
// dir. What has the names in it then is not this builder's any more. It is an
// error if a build of this builder still holds its folder.
func takenOver(dir state.Build) (bool, error) {
	entries, _ := ledger.Read(dir.Ledger()) // what cannot be read names nothing
	for _, e := range entries {
		if e.Kind != ledger.Directory || !filepath.IsAbs(e.Name) {
			continue
		}
		f, err := Claim(e.Name)
		switch {
		case errors.Is(err, ErrClaimed) && owns(dir, e.Name):
			return false, fmt.Errorf("a process of the build that has ended still works in %s", e.Name)
		case errors.Is(err, ErrClaimed):
			return true, nil
		case f != nil:
			_ = f.Close()
		}
	}
	return false, nil
}
