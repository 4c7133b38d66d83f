package buildd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// recover takes up the state of the last daemon.
func (d *Daemon) recover(ctx context.Context) error {
	d.mu.Lock()
	err := d.readState()
	d.publish()
	d.mu.Unlock()
	if err != nil {
		d.cfg.Log.Error("Cannot write the journal", "error", err)
	}
	settled := make(chan error, 1)
	d.wg.Go(func() {
		err := d.takeUp(ctx)
		if err != nil {
			d.cfg.Log.Error("Cannot take up the state of the last daemon", "error", err)
		}
		settled <- err
	})
	select {
	case err := <-settled:
		return err
	case <-time.After(d.cfg.RecoverWait):
		return nil
	}
}

// readState reads the journal, or makes a new one of what is known without it.
// The caller holds mu.
func (d *Daemon) readState() error {
	j, err := readJournal(d.state)
	if err == nil {
		err = j.checkEnd()
	}
	if err == nil {
		d.j = j
		return d.forgetAfterReset()
	}
	d.setAside(d.state.Journal(), err)
	d.j = d.reconstruct()
	d.cfg.Log.Warn("The journal was made anew", "state", d.j.State, "build_id", d.j.BuildID)
	return errors.Join(d.forgetAfterReset(), d.j.write(d.state))
}

// setAside takes a file that cannot be read out of the way, and says so.
func (d *Daemon) setAside(path string, why error) {
	to, err := aside.Move(path)
	d.cfg.Log.Error("What cannot be read is set aside, and the builder goes on", "error", errors.Join(why, err), "as", to)
}

// reconstruct is the journal as what else there is tells: a build that was
// accepted and not yet cleaned. Its outcome, or its supervisor, is then found as
// after each start. The caller holds mu.
func (d *Daemon) reconstruct() journal {
	path := state.Build(d.dir).Accepted()
	j, err := readJournalFile(path)
	switch {
	case err == nil && j.State == Building:
		return j
	case errors.Is(err, fs.ErrNotExist):
		return journal{State: Idle}
	}
	d.setAside(path, err)
	if o, err := job.ReadOutcome(state.Build(d.dir)); err == nil {
		return journal{State: Building, BuildID: o.BuildID, Accepted: time.Now()}
	}
	return journal{State: Idle}
}

// forgetAfterReset makes the builder idle if its machine was reset after a build,
// or in one: then results may be there that only the outcome names. The caller
// holds mu.
func (d *Daemon) forgetAfterReset() error {
	if !d.j.wasReset() {
		return nil
	}
	d.cfg.Log.Info("The machine was reset after its build; the builder is idle", "build_id", d.j.BuildID)
	if o, err := d.outcome(); err == nil {
		d.j.Outcome = &o
	}
	d.j = d.j.forgotten()
	return d.j.write(d.state)
}

// takeUp goes on from the state of the journal.
func (d *Daemon) takeUp(ctx context.Context) error {
	if err := d.cleaning.Acquire(ctx, 1); err != nil {
		return err
	}
	defer d.cleaning.Release(1)
	switch d.now.Load().status.State {
	case Idle:
		_ = d.tidy(ctx) // what it cannot undo, the next build tries again
		d.mu.Lock()
		defer d.mu.Unlock()
		d.sweep()
		return nil
	case Waiting:
		// A supervisor that still lives has nothing left to do but to delete what
		// its build threw away.
		_ = d.tidy(ctx)
		return nil
	case Building, Aborting:
		d.mu.Lock()
		defer d.mu.Unlock()
		d.resume(ctx)
		return nil
	}
	return fmt.Errorf("the journal %s has the unknown state %q", d.state.Journal(), d.j.State)
}

// resume follows the build that the last daemon started, or settles it. The
// caller holds mu.
func (d *Daemon) resume(ctx context.Context) {
	if _, err := d.outcome(); !errors.Is(err, fs.ErrNotExist) {
		d.settle(ctx, true, diedWithin)
		return
	}
	l, err := connect(ctx, d.dir)
	if err != nil {
		d.settle(ctx, true, diedWithin)
		return
	}
	d.cfg.Log.Info("Build goes on after a restart", "build_id", d.j.BuildID)
	d.attach(ctx, l, true)
	if d.j.State == Aborting {
		d.sendAbort(ctx)
	}
}

// handedOver is false when the last daemon died before it gave the supervisor
// its request, which then is gone, and when the supervisor is. One that says
// nothing yet is only slow, however long that takes.
func (d *Daemon) handedOver(l *link, a attempt) bool {
	defer l.receiveWithin(0)
	next := d.hear
	for said := false; ; said = true {
		e, err := next(l)
		if err != nil {
			return !said && !errors.Is(err, os.ErrDeadlineExceeded)
		}
		l.began = l.began || e.Stage != ""
		d.note(a, e)
		if e.Ready {
			return true
		}
		if !said {
			l.receiveWithin(d.cfg.ReadyWait)
			next = (*link).receive
		}
	}
}

// dismiss sends a supervisor without a request away and waits until it is gone.
func (d *Daemon) dismiss(l *link) {
	if err := l.sendAbort(); err != nil || supervisorGone(d.dir) {
		return
	}
	l.receiveWithin(10 * time.Second)
	for {
		if _, err := l.receive(); err != nil {
			return
		}
	}
}
