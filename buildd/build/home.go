package build

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

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
	old, err := leftovers.Claim(b.home)
	if errors.Is(err, leftovers.ErrClaimed) {
		b.foreign = true
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot make %s: %w", b.home, leftovers.ErrClaimed),
			Advice: "Wait until that build has ended, or abort it; then try again.",
		}
	}
	if old != nil {
		defer func() { _ = old.Close() }()
	}
	return leftovers.Discard(ctx, b.dir.State(), b.home)
}
