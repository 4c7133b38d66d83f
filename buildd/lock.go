package buildd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockWait is how long a start waits for a daemon that is about to end.
const lockWait = 500 * time.Millisecond

// lockState keeps a second daemon out of the state folder: each would take the
// other one's build for the rest of a dead daemon, and remove it. The lock ends
// when the file is closed or the process dies.
func lockState(dir string, wait time.Duration) (*os.File, error) {
	f, err := os.Open(dir) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return nil, fmt.Errorf("cannot lock the state of the builder: %w", err)
	}
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(end) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("another lpbuildd uses the file cache %s: stop it, or give this one a folder of its own (builder.filecache)", filepath.Dir(dir))
	case err != nil:
		err = fmt.Errorf("cannot lock %s: %w", dir, err)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
