package buildd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
)

// recover takes up the state of the last daemon.
func (d *Daemon) recover(ctx context.Context) error {
	j, err := readJournal(d.state)
	if err != nil {
		return fmt.Errorf("cannot read the journal of the last daemon; move it away to start afresh: %w", err)
	}
	d.mu.Lock()
	d.j = j
	d.publish()
	d.mu.Unlock()
	switch j.State {
	case Idle:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.tidy(ctx)
		return d.sweep()
	case Waiting:
		return nil
	case Building, Aborting:
		return d.resume(ctx)
	}
	return fmt.Errorf("the journal %s has the unknown state %q", filepath.Join(d.state, journalName), j.State)
}

// resume follows the build that the last daemon started, or settles it.
func (d *Daemon) resume(ctx context.Context) error {
	if _, err := job.ReadOutcome(d.dir); err == nil {
		return d.settle(ctx, true)
	}
	l, err := connect(ctx, d.dir)
	if err != nil {
		return d.settle(ctx, true)
	}
	if l.idle(readyWait) {
		// The last daemon died before it handed over the request, which is gone.
		d.dismiss(l)
		return d.settle(ctx, true)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cfg.Log.Info("Build goes on after a restart", "build_id", d.j.BuildID)
	d.attach(l, d.j.BuildID)
	if d.j.State == Aborting {
		d.sendAbort(d.j.BuildID)
	}
	return nil
}

// readyWait is how long a supervisor may take to read a request that the last
// daemon has sent.
const readyWait = 1500 * time.Millisecond

// dismiss sends a supervisor without a request away and waits until it is gone.
func (d *Daemon) dismiss(l *link) {
	defer l.close()
	_ = l.send(job.Message{Abort: true})
	_ = l.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		if e, err := l.receive(); err != nil || e.Done {
			return
		}
	}
}

// attach makes a connection the current one and follows it. The caller holds
// mu.
func (d *Daemon) attach(l *link, buildID string) {
	d.link = l
	d.wg.Go(func() { d.follow(l, buildID) })
}

// follow listens to a supervisor until the build is over.
func (d *Daemon) follow(l *link, buildID string) {
	for {
		e, err := l.receive()
		if err != nil || e.Done {
			break
		}
		d.note(e)
	}
	l.close()
	if d.ctx.Err() != nil || !d.builds(buildID) {
		return
	}
	if again, err := connect(d.ctx, d.dir); err == nil {
		if _, err := job.ReadOutcome(d.dir); errors.Is(err, fs.ErrNotExist) {
			d.mu.Lock()
			d.attach(again, buildID)
			d.mu.Unlock()
			return
		}
		again.close()
	}
	if err := d.settle(d.ctx, false); err != nil {
		d.cfg.Log.Error("Cannot settle the build", "build_id", buildID, "error", err)
	}
}

// builds says whether this build is the one that runs.
func (d *Daemon) builds(buildID string) bool {
	s := d.now.Load().status
	return s.BuildID == buildID && (s.State == Building || s.State == Aborting)
}

// settle ends a build whose supervisor has ended: with its outcome, or as the
// builder's failure. After a restart of the daemon a build that died is
// forgotten instead, so that the manager queues it again at once and at no
// cost (architecture: state on disk).
func (d *Daemon) settle(ctx context.Context, restarted bool) error {
	outcome, err := job.ReadOutcome(d.dir)
	if err == nil {
		return d.finish(outcome)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		d.cfg.Log.Error("Cannot read the outcome of the build", "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.j.State != Building && d.j.State != Aborting {
		return nil
	}
	cleanupErr := d.tidy(ctx)
	d.cfg.Log.Error("Supervisor died without an outcome", "build_id", d.j.BuildID, "restarted", restarted)
	if restarted && cleanupErr == nil {
		if err := d.transition(Lost, forget); err != nil {
			return err
		}
		return d.sweep()
	}
	cause := "the supervisor of the build died"
	if cleanupErr != nil {
		cause += "; " + cleanupErr.Error()
	}
	return d.fail(cause)
}

// fail ends the build as the builder's failure. The caller holds mu.
func (d *Daemon) fail(cause string) error {
	text := fmt.Sprintf("\nBuild summary\n  Result:     BUILDERFAIL\n  Cause:      %s\n"+
		"  What to do: look into the log of the daemon (journalctl -u 'lpbuildd*') and the kernel's (dmesg: out of memory?); the build can be tried again.\n", cause)
	if err := buildlog.Append(d.logPath(), text); err != nil {
		d.cfg.Log.Error("Cannot write to the build log", "error", err)
	}
	return d.conclude(job.Outcome{BuildID: d.j.BuildID, Status: "BUILDERFAIL", Cause: cause})
}

// finish ends the build with the outcome of its supervisor.
func (d *Daemon) finish(o job.Outcome) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.j.State != Building && d.j.State != Aborting || o.BuildID != d.j.BuildID {
		return nil
	}
	if d.j.State == Aborting && o.Status != "BUILDERFAIL" {
		o.Status = "ABORTED"
	}
	return d.conclude(o)
}

// conclude makes an outcome durable and shows it. The caller holds mu.
func (d *Daemon) conclude(o job.Outcome) error {
	if d.link != nil {
		d.link.close()
		d.link = nil
	}
	d.cfg.Log.Info("Build finished", "build_id", o.BuildID, "status", o.Status, "stage", o.Stage, "cause", o.Cause)
	return d.transition(Finish, func(j *journal) { j.Outcome = &o })
}

// sendAbort tells the supervisor to abort, and kills it when it does not
// report in time. The caller holds mu.
func (d *Daemon) sendAbort(buildID string) {
	if d.link != nil {
		if err := d.link.send(job.Message{Abort: true}); err != nil {
			d.cfg.Log.Warn("Cannot send the abort to the supervisor", "build_id", buildID, "error", err)
		}
	}
	d.wg.Go(func() {
		deadline := time.NewTimer(d.cfg.Settings.AbortLimit + d.cfg.AbortGrace)
		defer deadline.Stop()
		select {
		case <-d.ctx.Done():
		case <-deadline.C:
			d.giveUp(buildID)
		}
	})
}

// giveUp kills a supervisor that did not finish an abort.
func (d *Daemon) giveUp(buildID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.j.State != Aborting || d.j.BuildID != buildID {
		return
	}
	cause := "the aborted build did not end in time"
	if err := d.tidy(d.ctx); err != nil {
		cause += "; " + err.Error()
	}
	if err := d.fail(cause); err != nil {
		d.cfg.Log.Error("Cannot end the aborted build", "build_id", buildID, "error", err)
	}
}

// tidy undoes what dead builds left behind, if anything.
func (d *Daemon) tidy(ctx context.Context) error {
	if !d.left(job.LedgerName) && !d.left(job.SupervisorName) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := d.cfg.Launcher.cleanup(ctx, d.dir)
	if err != nil {
		d.cfg.Log.Error("Cannot clean up after the last build", "error", err)
	}
	return err
}

// left says whether a build left this file in its folder.
func (d *Daemon) left(name string) bool {
	_, err := os.Lstat(filepath.Join(d.dir, name))
	return err == nil
}
