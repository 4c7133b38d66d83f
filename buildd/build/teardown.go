package build

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
)

// How long the parts of a teardown may take: much longer than they do where nothing
// hangs. Killing has [limits] abort.
const (
	filesLimit   = 30 * time.Second
	keepLimit    = 10 * time.Minute
	unmountLimit = 5 * time.Minute
	removeLimit  = 15 * time.Minute
	trashLimit   = 10 * time.Minute
)

// teardown undoes what the stages did, in reverse order. It goes on after
// failures; an empty ledger is the proof that nothing is left. What has failed
// may be worth keeping. Each part has a deadline; what hangs stays in the ledger.
func (b *build) teardown(ctx context.Context, failure error) error {
	if b.progress.Passed(StageStart) {
		// Its exit code counts as little as in the reference (spec: lifecycle.md
		// section 9): what matters is whether the target can be stopped then.
		if err := b.reaper.reap(ctx); err != nil {
			b.voice.say("%v", err)
			failure = errUnkillable
		}
	}
	b.network.closeArchives(ctx)
	err := b.undoFiles(ctx)
	switch {
	case b.common.FastCleanup && resets(b.target):
		b.leftForReset = true
		return err
	case b.home.foreign:
		return err
	case b.progress.stuckIn(StageUnpack):
		return errors.Join(err, inUse(StageUnpack))
	case b.progress.stuckIn(StageStart):
		return errors.Join(err, inUse(StageStart))
	}
	if hang := b.keep(ctx, failure); hang != nil {
		return errors.Join(err, inUse(PartKeep))
	}
	return errors.Join(err, b.removeTarget(ctx))
}

// inUse is why the target is left alone: it is still in the hands of something. Its
// mounts end with the namespace, its folder is in the ledger.
func inUse[Name Stage | Part](by Name) error {
	if stage, ok := any(by).(Stage); ok {
		return fmt.Errorf("cannot clean up while the stage %s goes on", stage)
	}
	return fmt.Errorf("cannot clean up while %s goes on", by)
}

// undoFiles removes the files that the build type made outside the build directory.
func (b *build) undoFiles(ctx context.Context) error {
	if len(b.books.files()) == 0 {
		return nil
	}
	return b.progress.during(ctx, PartFiles, filesLimit, func(context.Context) error { return b.books.undoFiles() })
}

// resets says whether the target goes with the reset of this machine, on which
// fast clean-up relies.
func resets(t target) bool {
	c, inContainer := t.(*container)
	return !inContainer || !c.remote
}

// keep keeps the target of a failed build for a look, if the operator wants that.
// If it cannot, the target goes like any other, unless the attempt hangs.
func (b *build) keep(ctx context.Context, failure error) (hang error) {
	target, can := b.target.(keeper)
	if !can || !b.progress.Passed(StageStart) || !b.keeping.worthALook(failure) {
		return nil
	}
	o := b.outcomeOf(failure)
	r := kept.Record{
		BuildID: b.request.BuildID, Tag: b.request.Tag, Backend: b.typ.Backend, Series: b.common.Series, Arch: b.common.ABI,
		Status: o.Status, Stage: o.Stage, Cause: o.Cause,
	}
	err := b.progress.during(ctx, PartKeep, keepLimit, func(ctx context.Context) error { return b.keeping.keep(ctx, target, r) })
	if err != nil {
		b.voice.say("Cannot keep the target for a look: %v", err)
		b.voice.daemon.Warn("Cannot keep the target of a failed build", "error", err)
	}
	if hangs(err) {
		return err
	}
	return nil
}

// removeTarget stops the target and removes it, with the build directory.
func (b *build) removeTarget(ctx context.Context) error {
	var stopped error
	if b.progress.Began(StageStart) {
		b.voice.announce(b.voice.operation("umount-chroot")...)
		b.voice.say("Stopping target for build %s", b.request.BuildID)
		stopped = b.progress.during(ctx, PartUnmount, unmountLimit, b.target.Stop)
		if hangs(stopped) {
			return errors.Join(stopped, inUse(PartUnmount))
		}
	}
	b.voice.announce(b.voice.operation("remove-build")...)
	b.voice.say("Removing build %s", b.request.BuildID)
	err := b.progress.during(ctx, PartRemove, removeLimit, b.target.Remove)
	if err == nil {
		err = b.books.done(string(ledger.Directory), b.home.path)
	}
	return errors.Join(stopped, err)
}

// makeRoom deletes what the build threw away before its end is written down,
// if it has filled the disk; otherwise that can wait.
func (b *build) makeRoom(ctx context.Context) {
	if !b.watch.full() {
		return
	}
	err := b.progress.during(ctx, PartTrash, trashLimit, func(ctx context.Context) error {
		return chroot.EmptyTrash(ctx, b.books.dir.State().Trash())
	})
	if err != nil {
		b.voice.daemon.Error("Cannot make room on a full disk", "error", err)
	}
}
