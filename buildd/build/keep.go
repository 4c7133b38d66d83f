package build

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/verdict"
)

// keeping is what becomes of the target of a failed build.
type keeping struct {
	builds   kept.Builds
	settings job.Keep
	voice    *voice
	books    *books
	// record is what is kept, nil if nothing is.
	record *kept.Record

	mu sync.Mutex // guards secrets
	// secrets are the files in the target that hold some.
	secrets []string
}

// hasSecrets notes files in the target that must not be kept.
func (k *keeping) hasSecrets(paths ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.secrets = append(k.secrets, paths...)
}

// worthALook says whether somebody may want to look into the target of a build that
// failed so. Builds that wait for a dependency are no riddle.
func (k *keeping) worthALook(failure error) bool {
	if k.settings.For <= 0 || failure == nil || errors.Is(failure, errUnkillable) {
		return false
	}
	switch judge(failure).Outcome {
	case verdict.PackageFail, verdict.ChrootFail, verdict.BuilderFail, verdict.GivenBack:
		return true
	case verdict.OK, verdict.Aborted, verdict.DepFail:
	}
	return false
}

// keep keeps a target as r tells, and adds to r how it is found again. Until it has
// its final name, its folder is in the ledger.
func (k *keeping) keep(ctx context.Context, target keeper, r kept.Record) error {
	if err := k.makeRoomForOneMore(ctx, r.BuildID); err != nil {
		return err
	}
	id, path := k.builds.NewPath()
	r.ID, r.Failed, r.Expires, r.MinFree = id, time.Now(), time.Now().Add(k.settings.For), k.settings.MinFree
	entry := ledger.Entry{Kind: ledger.Directory, Name: path}
	if err := k.books.ledger.Add(entry); err != nil {
		return err
	}
	err := k.builds.Begin(path)
	if err == nil {
		err = target.keep(ctx, path, k.secrets, &r)
	}
	if err == nil {
		err = k.builds.Commit(path, r)
	}
	if err != nil {
		return errors.Join(err, leftovers.Discard(ctx, k.builds.State(), path), k.books.ledger.Done(entry))
	}
	k.record = &r
	k.builds.Log(ctx, k.voice.daemon, "Failed build kept", r, "status", r.Status, "expires", r.Expires)
	k.voice.say("Keeping the target of build %s until %s", r.BuildID, r.Expires.Format(time.RFC3339))
	return errors.Join(target.release(), k.books.ledger.Done(entry))
}

// makeRoomForOneMore removes the oldest targets that are kept, if there are too
// many. Those that somebody is in stay.
func (k *keeping) makeRoomForOneMore(ctx context.Context, buildID string) error {
	space, err := k.builds.Space()
	if err != nil {
		return err
	}
	if left := space.Free.Lacks(space.Reserve(k.settings.MinFree)); left != "" {
		return fmt.Errorf("the disk is short: %s are free", left)
	}
	all, err := k.builds.List()
	if err != nil {
		return err
	}
	surplus := len(all) - max(k.settings.Builds, 1) + 1
	for _, r := range all {
		if _, inside := k.builds.Visitor(r.ID); inside || surplus <= 0 {
			continue
		}
		if err := leftovers.DropKept(ctx, k.builds, r, fmt.Sprintf("the build %s takes its place", buildID), k.voice.daemon); err != nil {
			return err
		}
		surplus--
	}
	if surplus > 0 {
		return errors.New("somebody is in each of those that are kept already")
	}
	return nil
}

// undo removes what was kept of a build that was aborted after all.
func (k *keeping) undo(ctx context.Context) {
	if k.record == nil {
		return
	}
	if err := leftovers.DropKept(ctx, k.builds, *k.record, "the build was aborted", k.voice.daemon); err != nil {
		k.voice.daemon.Error("Cannot remove the kept target of an aborted build", "error", err)
		return
	}
	k.record = nil
}
