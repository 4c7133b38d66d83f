package buildd

import (
	"context"
	"fmt"
	"time"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// lockWait is how long a start waits for a daemon that is about to end.
const lockWait = 500 * time.Millisecond

// lockState keeps a second daemon out of the state folder: each would take the
// other one's build for the rest of a dead daemon, and remove it.
func lockState(ctx context.Context, folder state.Folder) (*disk.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	lock, err := disk.Await(ctx, 10*time.Millisecond, func() (*disk.Lock, error) { return disk.LockFolder(folder.Path()) })
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("another lpbuildd uses the file cache %s: stop it, or give this one a folder of its own (builder.filecache)", folder.Cache())
	case err != nil:
		return nil, fmt.Errorf("cannot lock the state of the builder: %w", err)
	}
	return lock, nil
}
