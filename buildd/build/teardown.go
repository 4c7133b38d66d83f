package build

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lpbuildd/buildd/ledger"
	"lpbuildd/disk"
)

// teardown undoes what the stages did, in reverse order. It goes on after
// failures; an empty ledger is the proof that nothing is left. What has failed
// may be worth keeping.
func (b *build) teardown(ctx context.Context, failure error) error {
	var errs []error
	began := time.Now()
	if b.passed("start") {
		limited, cancel := context.WithTimeout(ctx, b.request.Settings.AbortLimit)
		defer cancel()
		// Its exit code counts as little as in the reference (spec: lifecycle.md
		// section 9): what matters is whether the target can be stopped then.
		if err := b.reap(limited); err != nil {
			b.say("%v", err)
			failure = errUnkillable
		}
	}
	b.closeArchives(ctx)
	errs = append(errs, b.undoFiles())
	switch {
	case b.common.FastCleanup && b.resets():
		b.leftForReset = true
		return errors.Join(errs...)
	case b.foreign:
		return errors.Join(errs...)
	case b.stuckIn == "unpack" || b.stuckIn == "start":
		// The target is still in the hands of that stage. Its mounts end with the
		// namespace, its folder is in the ledger.
		return errors.Join(append(errs, fmt.Errorf("cannot clean up while the stage %s goes on", b.stuckIn))...)
	}
	b.keep(ctx, failure)
	if b.reached("start") {
		b.announce(b.operation("umount-chroot")...)
		b.say("Stopping target for build %s", b.request.BuildID)
		errs = append(errs, b.target.Stop(ctx))
	}
	b.announce(b.operation("remove-build")...)
	b.say("Removing build %s", b.request.BuildID)
	err := b.target.Remove(ctx)
	if err == nil {
		err = b.ledger.Done(ledger.Entry{Kind: ledger.Directory, Name: b.home})
	}
	b.timings = append(b.timings, timing{stage: "cleanup", took: time.Since(began)})
	return errors.Join(append(errs, err)...)
}

// resets says whether the target goes with the reset of this machine, on which
// fast clean-up relies.
func (b *build) resets() bool {
	c, inContainer := b.target.(*container)
	return !inContainer || !c.remote
}

// reached says whether a stage began.
func (b *build) reached(name string) bool { return b.position(name) >= 0 }

// passed says whether the stage after this one began.
func (b *build) passed(name string) bool {
	p := b.position(name)
	return p >= 0 && p < len(b.timings)-1
}

// position is where a stage stands among those that ran, or -1.
func (b *build) position(name string) int {
	for i, t := range b.timings {
		if t.stage == name {
			return i
		}
	}
	return -1
}

// undoFiles removes the files that the build type made outside the build
// directory.
func (b *build) undoFiles() error {
	var errs []error
	for _, e := range b.ledger.Entries() {
		if e.Kind != ledger.File {
			continue
		}
		err := disk.Remove(e.Name)
		if err == nil {
			err = b.ledger.Done(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
