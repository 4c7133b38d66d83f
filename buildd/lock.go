package buildd

import (
	"context"
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
func lockState(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.Open(dir) //nolint:gosec // the path is the daemon's own
	if err != nil {
		return nil, fmt.Errorf("cannot lock the state of the builder: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("cannot lock %s: %w", dir, err), f.Close())
		}
		select {
		case <-ctx.Done():
			err = fmt.Errorf("another lpbuildd uses the file cache %s: stop it, or give this one a folder of its own (builder.filecache)", filepath.Dir(dir))
			return nil, errors.Join(err, f.Close())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
