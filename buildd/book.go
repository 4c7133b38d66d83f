package buildd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// book keeps the journal: each change is on the disk before it is shown to anyone.
// It belongs to the slot.
type book struct {
	journal journal
	files   *files
	board   *board
	cache   *filecache.Cache
	loop    *loop
	log     *slog.Logger
	retry   time.Duration // RetryDelay
}

// transition applies an event: checks it, changes a copy of the journal, makes
// that durable, and only then shows it.
func (b *book) transition(event Event, change func(*journal)) error {
	to, err := next(b.journal.State, event)
	if err != nil {
		return err
	}
	j := b.journal
	change(&j)
	j.State = to
	if err := j.write(b.files.state); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	b.journal = j
	b.board.show(&j)
	return nil
}

// showUnwritten shows an end of the build that cannot be made durable, which it is as
// soon as that is possible.
func (b *book) showUnwritten(o job.Outcome) {
	b.journal.State, b.journal.Outcome = Waiting, &o
	b.board.show(&b.journal)
	b.writeLater(b.journal.attempt())
}

func (b *book) writeLater(a attempt) {
	b.loop.later(b.retry, func(ctx context.Context, _ *slot) {
		if b.journal.State != Waiting || b.journal.attempt() != a {
			return
		}
		if err := b.write(); err != nil {
			b.writeLater(a)
			return
		}
		b.log.InfoContext(ctx, "The end of the build is on the disk now", "build_id", a.buildID)
	})
}

// write makes the journal durable as it is.
func (b *book) write() error { return b.journal.write(b.files.state) }

// open reads the journal of the last daemon, or makes a new one of what is known
// without it.
func (b *book) open() error {
	j, err := readJournal(b.files.state)
	if err == nil {
		err = j.checkEnd()
	}
	if err == nil {
		b.journal = j
		return b.forgetAfterReset()
	}
	b.files.setAside(b.files.state.Journal(), err)
	b.journal = b.files.reconstruct()
	b.log.Warn("The journal was made anew", "state", b.journal.State, "build_id", b.journal.BuildID)
	return errors.Join(b.forgetAfterReset(), b.write())
}

// forgetAfterReset makes the builder idle if its machine was reset after a build,
// or in one: then results may be there that only the outcome names.
func (b *book) forgetAfterReset() error {
	if !b.journal.wasReset() {
		return nil
	}
	b.log.Info("The machine was reset after its build; the builder is idle", "build_id", b.journal.BuildID)
	if o, err := b.files.outcome(b.journal.BuildID); err == nil {
		b.journal.Outcome = &o
	}
	b.journal = b.journal.forgotten()
	return b.write()
}

// runs says whether this build is the one that runs.
func (b *book) runs(a attempt) bool {
	return b.journal.attempt() == a && b.journal.runs()
}

// over says whether this build has ended and no other one has begun.
func (b *book) over(a attempt) bool {
	return b.journal.State == Idle || b.journal.State == Waiting && b.journal.attempt() == a
}

// clean forgets the build that has ended.
func (b *book) clean() error {
	if err := b.transition(Clean, func(j *journal) { *j = j.forgotten() }); err != nil {
		return err
	}
	b.sweep()
	return nil
}

// sweep deletes the garbage of the last build. What cannot be deleted is tried
// again at the next clean or start: the builder is idle all the same.
func (b *book) sweep() {
	errs := []error{b.cache.RemoveAll(b.journal.Garbage)}
	for _, path := range []string{b.files.state.Log(), b.files.build.Accepted()} {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		b.log.Error("Cannot delete all files of the last build", "error", err)
		return
	}
	if b.journal.Garbage == nil {
		return
	}
	b.journal.Garbage = nil
	if err := b.write(); err != nil {
		b.log.Error("Cannot write the journal", "error", err)
	}
}
