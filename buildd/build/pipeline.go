package build

import (
	"context"
	"errors"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

// run is a whole build. It always returns an outcome, which it writes to the
// outcome file, and nothing of the build is left when it does.
func (b *build) run(ctx context.Context) job.Outcome {
	b.owe()
	err := b.open(ctx)
	if err == nil {
		err = b.guarded(ctx)
	}
	b.network.revoke(ctx)
	b.makeRoom(context.WithoutCancel(ctx))
	o := b.outcomeOf(err)
	b.voice.conclude(b.summary(o, err))
	_ = b.home.claimed.Close() // nothing was written to it
	b.books.close(o)
	return o
}

// guarded runs the stages and, whatever became of them, the teardown.
func (b *build) guarded(ctx context.Context) error {
	limited, stop := b.watch.limit(ctx)
	err := b.pipeline(limited)
	stop()
	// Teardown goes on after an abort, and its failures do not hide the first.
	cleanup := protect(func() error { return b.teardown(context.WithoutCancel(ctx), err) })
	switch {
	case cleanup == nil:
	case err == nil:
		err = &stageError{stage: StageCleanup, failure: verdict.BuilderFail, err: cleanup}
	default:
		b.voice.say("Clean-up failed: %v", cleanup)
		b.voice.daemon.Error("Clean-up of a failed build failed", "error", cleanup)
	}
	// An abort replaces every other end but the builder's failure, even one that
	// came before it (spec: protocol.md section 8).
	if errors.Is(context.Cause(ctx), errAborted) && !errors.Is(err, errAborted) && judge(err).Outcome != verdict.BuilderFail {
		err = &stageError{stage: StageCleanup, failure: verdict.BuilderFail, err: errAborted}
		b.keeping.undo(context.WithoutCancel(ctx))
	}
	return err
}

// pipeline runs the stages, and kills what they run when ctx is cancelled.
func (b *build) pipeline(ctx context.Context) error {
	k := startKiller(ctx, b.reaper)
	err := b.runStages(ctx, k.gaveUp)
	if dead := k.stop(); !dead && !errors.Is(err, errUnkillable) {
		err = &stageError{stage: b.progress.stage(), err: errUnkillable}
	}
	return err
}

// runStages runs the stages in order until one fails.
func (b *build) runStages(ctx context.Context, gaveUp <-chan struct{}) error {
	for _, s := range b.stages {
		if s.wanted != nil && !s.wanted(b) {
			continue
		}
		if err := b.runStage(ctx, s, gaveUp); err != nil {
			if ctx.Err() == nil {
				err = b.inquest.blame(ctx, err)
			}
			return &stageError{stage: s.name, failure: s.failure, err: err}
		}
	}
	return nil
}

// runStage runs one stage. It ends when the stage does, or when the stage is
// abandoned because something in it cannot be killed.
func (b *build) runStage(ctx context.Context, s stage, gaveUp <-chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.enter(s)
	done := make(chan error, 1)
	go func() { done <- protect(func() error { return s.run(ctx, b) }) }()
	var err error
	select {
	case err = <-done:
	case <-gaveUp:
		b.progress.abandon()
		err = errUnkillable
	}
	b.progress.end()
	flushErr := b.voice.log.Flush()
	// What a command says after it was killed is not why the build ended.
	if ctx.Err() != nil && !errors.Is(err, errUnkillable) {
		return context.Cause(ctx)
	}
	return errors.Join(err, flushErr)
}

// enter tells of the stage that begins.
func (b *build) enter(s stage) {
	b.progress.begin(s.name)
	if s.announce != nil {
		b.voice.announce(s.announce(b)...)
	}
	if s.says != "" {
		b.voice.say(s.says, b.request.BuildID)
	}
	b.tell(func(e *job.Event) { e.Stage = string(s.name) })
}
