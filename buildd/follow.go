package buildd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/filecache"
)

// attach makes a connection the current one and follows it; resumed says that
// it was the last daemon who started the build. The caller holds mu.
func (d *Daemon) attach(ctx context.Context, l *link, resumed bool) {
	d.link = l
	a := d.j.attempt()
	d.wg.Go(func() { d.follow(ctx, l, a, resumed) })
}

// follow listens to a supervisor until the build is over, or until another
// connection or none is needed.
func (d *Daemon) follow(ctx context.Context, l *link, a attempt, resumed bool) {
	lost := resumed && !d.handedOver(l, a)
	if lost {
		d.dismiss(l)
	} else {
		d.listen(l, a)
	}
	l.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing() || !d.runs(a) || d.ending || !lost && d.reconnect(ctx) {
		return
	}
	cause := diedBefore
	if l.began {
		cause = diedWithin
	}
	d.settle(ctx, lost, cause)
}

// Why a build ended without an outcome.
const (
	diedWithin = "the supervisor of the build died"
	diedBefore = "the supervisor of the build ended before it began to work; usual reasons are a missing sudo rule, and a HOME or file cache that is not the daemon's own"
)

// listen shows what a supervisor tells until the connection ends.
func (d *Daemon) listen(l *link, a attempt) {
	for {
		e, err := d.hear(l)
		if err != nil || e.Done {
			return
		}
		l.began = l.began || e.Stage != ""
		d.note(a, e)
	}
}

// hear waits for the next event, which is there at once on each connection. The
// wait ends with os.ErrDeadlineExceeded if the supervisor is dead: a sudo that was
// stopped keeps its socket.
func (d *Daemon) hear(l *link) (job.Event, error) {
	for {
		l.receiveWithin(d.cfg.RetryDelay)
		e, err := l.receive()
		if !errors.Is(err, os.ErrDeadlineExceeded) || supervisorGone(d.dir) {
			return e, err
		}
	}
}

// reconnect follows a supervisor that still lives on a new connection; false
// when the build is over. The caller holds mu.
func (d *Daemon) reconnect(ctx context.Context) bool {
	if _, err := d.outcome(); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	l, err := connect(ctx, d.dir)
	if err != nil {
		return false
	}
	if supervisorGone(d.dir) {
		l.close()
		return false
	}
	d.attach(ctx, l, false)
	if d.j.State == Aborting {
		// The connection may have broken before the abort got through.
		d.askToAbort()
	}
	return true
}

// runs says whether this build is the one that runs. The caller holds mu.
func (d *Daemon) runs(a attempt) bool {
	return d.j.attempt() == a && (d.j.State == Building || d.j.State == Aborting)
}

// outcome reads how the build in the journal ended; fs.ErrNotExist, if it did
// not. The caller holds mu.
func (d *Daemon) outcome() (job.Outcome, error) {
	o, err := job.ReadOutcome(state.Build(d.dir))
	for _, sum := range slices.Concat(o.Added, slices.Collect(maps.Values(o.FileMap))) {
		err = errors.Join(err, filecache.CheckName(sum))
	}
	if err == nil && o.BuildID != d.j.BuildID {
		err = fmt.Errorf("the outcome is that of the build %q: %w", o.BuildID, fs.ErrNotExist)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.cfg.Log.Error("Cannot read the outcome of the build", "error", err)
	}
	return o, err
}

// settle ends a build whose supervisor has ended: with its outcome, or as the
// builder's failure if it has none, or one that cannot be read. After a restart of the daemon a build that died is
// forgotten instead, so that the manager queues it again at once and at no
// cost. The caller holds mu.
func (d *Daemon) settle(ctx context.Context, restarted bool, cause string) {
	o, err := d.outcome()
	switch {
	case err == nil:
		d.accomplish(ctx, o)
		return
	case !errors.Is(err, fs.ErrNotExist):
		d.setAside(state.Build(d.dir).Outcome(), err)
		restarted, cause = false, err.Error()
	}
	d.cfg.Log.Error("Supervisor died without an outcome", "build_id", d.j.BuildID, "restarted", restarted)
	cleanupErr := d.tidyEnding(ctx)
	if restarted && cleanupErr == nil {
		d.loss.happened()
		d.lose()
		return
	}
	d.fail(cause, cleanupErr)
}

// accomplish ends a build with the outcome that its supervisor has written. The
// caller holds mu.
func (d *Daemon) accomplish(ctx context.Context, o job.Outcome) {
	d.conclude(o)
	if !o.LeftForReset {
		d.tidyUpAfterOutcome(ctx)
	}
}

// lose forgets a build that nothing is left of. While that cannot be written
// down it is tried again and again, as in conclude. The caller holds mu.
func (d *Daemon) lose() {
	err := d.transition(Lost, func(j *journal) { *j = j.forgotten() })
	if err == nil {
		d.unwritten = time.Time{}
		d.sweep()
		return
	}
	a := d.j.attempt()
	d.cfg.Log.Error("Cannot forget the build yet", "build_id", a.buildID, "error", err)
	if d.tooLong() {
		d.concludeUnwritten(job.Outcome{BuildID: a.buildID}, err)
		return
	}
	d.later(d.cfg.RetryDelay, func() {
		if d.runs(a) {
			d.lose()
		}
	})
}

// fail ends the build as the builder's failure. The caller holds mu.
func (d *Daemon) fail(cause string, cleanupErr error) {
	if cleanupErr != nil {
		cause += "; " + cleanupErr.Error()
	}
	text := fmt.Sprintf("\nBuild summary\n  Result:     BUILDERFAIL\n  Cause:      %s\n"+
		"  What to do: look into the log of the daemon (journalctl -u 'lpbuildd*') and the kernel's (dmesg: out of memory?); the build can be tried again.\n", cause)
	if err := buildlog.Append(d.logPath(), text); err != nil {
		d.cfg.Log.Error("Cannot write to the build log", "error", err)
	}
	d.conclude(job.Outcome{BuildID: d.j.BuildID, Status: verdict.BuilderFail, Cause: cause, Extra: d.now.Load().status.Extra})
}

// conclude makes an outcome durable and shows it. While that is not possible,
// as on a full disk, nobody may be told, and it is tried again and again; on a
// disk that cannot be written any more, not for ever. The caller holds mu.
func (d *Daemon) conclude(o job.Outcome) {
	if d.link != nil {
		d.link.close()
		d.link = nil
	}
	if d.j.State == Aborting && o.Status != verdict.BuilderFail {
		o.Status = verdict.Aborted
	}
	if err := d.transition(Finish, func(j *journal) { j.Outcome = &o }); err != nil {
		a := d.j.attempt()
		d.cfg.Log.Error("Cannot end the build yet", "build_id", o.BuildID, "error", err)
		if d.tooLong() {
			d.concludeUnwritten(o, err)
			return
		}
		d.later(d.cfg.RetryDelay, func() {
			if d.runs(a) {
				d.conclude(o)
			}
		})
		return
	}
	d.unwritten = time.Time{}
	d.cfg.Log.Info("Build finished", "build_id", o.BuildID, "status", o.Status, "stage", o.Stage, "cause", o.Cause)
}

// sendAbort tells the supervisor to abort, and kills it when it does not
// report in time. The caller holds mu.
func (d *Daemon) sendAbort(ctx context.Context) {
	a := d.j.attempt()
	d.askToAbort()
	d.later(d.abortLimit+d.cfg.AbortGrace, func() {
		if d.runs(a) && !d.ending {
			d.giveUp(ctx)
		}
	})
}

// askToAbort sends an abort on the current connection. The caller holds mu.
func (d *Daemon) askToAbort() {
	if d.link == nil {
		return
	}
	if err := d.link.sendAbort(); err != nil {
		d.cfg.Log.Warn("Cannot send the abort to the supervisor", "build_id", d.j.BuildID, "error", err)
	}
}

// giveUp kills a supervisor that did not finish an abort. The caller holds mu.
func (d *Daemon) giveUp(ctx context.Context) {
	if o, err := d.outcome(); err == nil {
		d.accomplish(ctx, o)
		return
	}
	d.fail("the aborted build did not end in time", d.tidyEnding(ctx))
}
