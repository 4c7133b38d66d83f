package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/verdict"
)

// keeper is a target that can outlive its build. Nothing runs in it any more.
type keeper interface {
	// keep takes the target out of the hands of its build, into a folder or under
	// a name of its own, and notes in r how it is found again.
	keep(ctx context.Context, b *build, path string, r *kept.Record) error
	// release says, once r is written down, that the target is not the build's any
	// more: Stop and Remove leave it alone.
	release() error
}

// hasSecrets notes files in the target that must not be kept.
func (b *build) hasSecrets(paths ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secretPaths = append(b.secretPaths, paths...)
}

// keep keeps the target of a failed build for a look, if the operator wants
// that. If it cannot, the target goes like any other.
func (b *build) keep(ctx context.Context, failure error) {
	k, can := b.target.(keeper)
	if !can || !b.worthALook(failure) {
		return
	}
	if err := protect(func() error { return b.keepTarget(ctx, k, failure) }); err != nil {
		b.say("Cannot keep the target for a look: %v", err)
		b.daemon.Warn("Cannot keep the target of a failed build", "error", err)
	}
}

// worthALook says whether somebody may want to look into the target. Builds
// that wait for a dependency are no riddle.
func (b *build) worthALook(failure error) bool {
	if b.request.Settings.Keep.For <= 0 || failure == nil || errors.Is(failure, errUnkillable) || !b.passed("start") {
		return false
	}
	switch judge(failure).Outcome {
	case verdict.PackageFail, verdict.ChrootFail, verdict.BuilderFail, verdict.GivenBack:
		return true
	case verdict.OK, verdict.Aborted, verdict.DepFail:
	}
	return false
}

// keepTarget keeps the target. Until it has its final name, its folder is in
// the ledger.
func (b *build) keepTarget(ctx context.Context, k keeper, failure error) error {
	store := kept.In(b.dir.State())
	if err := b.makeRoomForOneMore(ctx, store); err != nil {
		return err
	}
	id, path := store.NewPath()
	o := b.outcomeOf(failure)
	r := kept.Record{
		ID: id, BuildID: b.request.BuildID, Tag: b.request.Tag, Backend: b.typ.Backend, Series: b.common.Series, Arch: b.common.ABI,
		Status: o.Status, Stage: o.Stage, Cause: o.Cause, Failed: time.Now(), Expires: time.Now().Add(b.request.Settings.Keep.For),
		MinFree: b.request.Settings.Keep.MinFree,
	}
	entry := ledger.Entry{Kind: ledger.Directory, Name: path}
	if err := b.ledger.Add(entry); err != nil {
		return err
	}
	err := store.Begin(path)
	if err == nil {
		err = k.keep(ctx, b, path, &r)
	}
	if err == nil {
		err = store.Commit(path, r)
	}
	if err != nil {
		return errors.Join(err, leftovers.Discard(ctx, b.dir.State(), path), b.ledger.Done(entry))
	}
	b.kept = &r
	store.Log(ctx, b.daemon, "Failed build kept", r, "status", r.Status, "expires", r.Expires)
	b.say("Keeping the target of build %s until %s", r.BuildID, r.Expires.Format(time.RFC3339))
	return errors.Join(k.release(), b.ledger.Done(entry))
}

// makeRoomForOneMore removes the oldest targets that are kept, if there are too
// many. Those that somebody is in stay.
func (b *build) makeRoomForOneMore(ctx context.Context, store kept.Store) error {
	space, err := store.Space()
	if err != nil {
		return err
	}
	s := b.request.Settings.Keep
	if left := space.Free.Lacks(space.Reserve(s.MinFree)); left != "" {
		return fmt.Errorf("the disk is short: %s are free", left)
	}
	all, err := store.List()
	if err != nil {
		return err
	}
	surplus := len(all) - max(s.Builds, 1) + 1
	for _, r := range all {
		if _, inside := store.Visitor(r.ID); inside || surplus <= 0 {
			continue
		}
		if err := leftovers.DropKept(ctx, store, r, fmt.Sprintf("the build %s takes its place", b.request.BuildID), b.daemon); err != nil {
			return err
		}
		surplus--
	}
	if surplus > 0 {
		return errors.New("somebody is in each of those that are kept already")
	}
	return nil
}

// unkeep removes what was kept of a build that was aborted after all.
func (b *build) unkeep(ctx context.Context) {
	if b.kept == nil {
		return
	}
	if err := leftovers.DropKept(ctx, kept.In(b.dir.State()), *b.kept, "the build was aborted", b.daemon); err != nil {
		b.daemon.Error("Cannot remove the kept target of an aborted build", "error", err)
		return
	}
	b.kept = nil
}

// chrootTarget is a chroot that can be kept.
type chrootTarget struct{ *chroot.Chroot }

func (c chrootTarget) keep(ctx context.Context, b *build, path string, r *kept.Record) (err error) {
	space, err := kept.In(b.dir.State()).Space()
	if err != nil {
		return err
	}
	target := kept.Target(path)
	// Input files are links to the cache, which does not keep them.
	for _, link := range b.inputPaths() {
		if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	r.Base, err = c.Keep(ctx, target, b.secretPaths, space.Free.Minus(space.Reserve(b.request.Settings.Keep.MinFree)))
	return err
}

// release has nothing to say: what was moved is not there any more.
func (c chrootTarget) release() error { return nil }

// keep leaves the network to the next build.
func (c *container) keep(ctx context.Context, b *build, _ string, r *kept.Record) error {
	engine := b.request.Settings.Container
	r.Container, r.Engine = incus.KeptName(engine.Instance, r.ID), &engine
	return c.Keep(ctx, r.Container, b.secretPaths)
}

func (c *container) release() error { return c.Release() }
