package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
)

// killOnCancel kills everything that the build runs as soon as ctx is
// cancelled, unless the pipeline is over first. When something survives for
// the time limit, or the stage does not end, the stage is abandoned.
func (b *build) killOnCancel(ctx, over context.Context, abandon chan<- struct{}) {
	select {
	case <-over.Done():
		return
	case <-ctx.Done():
	}
	if over.Err() != nil {
		return
	}
	deadline, cancel := context.WithTimeout(over, b.request.Settings.AbortLimit)
	defer cancel()
	err := b.reap(deadline)
	if err == nil {
		<-deadline.Done()
		if over.Err() != nil {
			return
		}
		err = errors.New("the stage does not end although its processes did")
	}
	if over.Err() != nil {
		return
	}
	fmt.Fprintf(b.log, "ABORTING: Failed to kill all processes.\n%v\n", err)
	close(abandon)
}

// reap kills everything that the current stage has left running; once a stage.
func (b *build) reap(ctx context.Context) error {
	b.mu.Lock()
	stage, again := b.stage, b.reaped == b.stage
	b.reaped = stage
	b.mu.Unlock()
	if again {
		fmt.Fprintf(b.log, "Already reaped from state %s...\n", stage)
		return nil
	}
	b.announce(b.operation("scan-for-processes")...)
	fmt.Fprintf(b.log, "Scanning for processes to kill in build %s\n", b.request.BuildID)
	return errors.Join(killAll(ctx), b.target.KillProcesses(ctx))
}

// teardown undoes what the stages did, in reverse order. It goes on after
// failures; an empty ledger is the proof that nothing is left.
func (b *build) teardown(ctx context.Context) error {
	var errs []error
	began := time.Now()
	if b.passed("start") {
		limited, cancel := context.WithTimeout(ctx, b.request.Settings.AbortLimit)
		defer cancel()
		// Its exit code counts as little as in the reference (spec: lifecycle.md
		// section 9): what matters is whether the target can be stopped then.
		if err := b.reap(limited); err != nil {
			fmt.Fprintf(b.log, "%v\n", err)
		}
	}
	errs = append(errs, b.undoFiles())
	if b.common.FastCleanup {
		return errors.Join(errs...)
	}
	if b.reached("start") {
		b.announce(b.operation("umount-chroot")...)
		fmt.Fprintf(b.log, "Stopping target for build %s\n", b.request.BuildID)
		errs = append(errs, b.target.Stop(ctx))
	}
	b.announce(b.operation("remove-build")...)
	fmt.Fprintf(b.log, "Removing build %s\n", b.request.BuildID)
	err := b.target.Remove(ctx)
	if err == nil {
		err = b.ledger.Done(ledger.Entry{Kind: ledger.Directory, Name: b.home})
	}
	b.timings = append(b.timings, timing{stage: "cleanup", took: time.Since(began)})
	return errors.Join(append(errs, err)...)
}

// reached says whether a stage began, passed whether the one after it did.
func (b *build) reached(name string) bool { return b.position(name) >= 0 }
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
	entries, err := ledger.Read(filepath.Join(b.dir, job.LedgerName))
	errs := []error{err}
	for _, e := range entries {
		if e.Kind != ledger.File {
			continue
		}
		err := removeFile(e.Name)
		if err == nil {
			err = b.ledger.Done(e)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeFile deletes a file; one that is gone already is fine.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
