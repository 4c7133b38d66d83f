package build

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

// guarded runs the stages and, whatever became of them, the teardown.
func (b *build) guarded(ctx context.Context) error {
	limited, stop := b.limit(ctx)
	err := b.pipeline(limited)
	stop()
	// Teardown goes on after an abort, and its failures do not hide the first.
	cleanup := protect(func() error { return b.teardown(context.WithoutCancel(ctx), err) })
	switch {
	case cleanup == nil:
	case err == nil:
		err = &stageError{stage: cleanupStage(), err: cleanup}
	default:
		b.say("Clean-up failed: %v", cleanup)
		b.daemon.Error("Clean-up of a failed build failed", "error", cleanup)
	}
	// An abort replaces every other end but the builder's failure, even one that
	// came before it (spec: protocol.md section 8).
	if errors.Is(context.Cause(ctx), errAborted) && !errors.Is(err, errAborted) && judge(err).Outcome != verdict.BuilderFail {
		err = &stageError{stage: cleanupStage(), err: errAborted}
		b.unkeep(context.WithoutCancel(ctx))
	}
	return err
}

// pipeline runs the stages, and kills what they run when ctx is cancelled.
func (b *build) pipeline(ctx context.Context) error {
	k := b.startKiller(ctx)
	err := b.runStages(ctx, k.gaveUp)
	if dead := k.stop(); !dead && !errors.Is(err, errUnkillable) {
		err = &stageError{stage: b.stage(), err: errUnkillable}
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
				err = b.blame(ctx, err)
			}
			return &stageError{stage: s, err: err}
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
	start := time.Now()
	done := make(chan error, 1)
	go func() { done <- protect(func() error { return s.run(ctx, b) }) }()
	var err error
	select {
	case err = <-done:
	case <-gaveUp:
		b.stuckIn, err = s.name, errUnkillable
	}
	b.timings = append(b.timings, timing{stage: s.name, took: time.Since(start)})
	flushErr := b.log.Flush()
	// What a command says after it was killed is not why the build ended.
	if ctx.Err() != nil && !errors.Is(err, errUnkillable) {
		return context.Cause(ctx)
	}
	return errors.Join(err, flushErr)
}

// protect turns a panic, which only an error of this program can cause, into
// the builder's failure.
func protect(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &verdict.HostFault{
				Err:    fmt.Errorf("internal error: %v\n%s", r, debug.Stack()),
				Advice: "Report this error in the builder's software, with this log.",
			}
		}
	}()
	return f()
}

// enter notes the stage that begins.
func (b *build) enter(s stage) {
	b.mu.Lock()
	b.current, b.reaped = s, false
	b.mu.Unlock()
	if s.announce != nil {
		b.announce(s.announce(b)...)
	}
	if s.says != "" {
		b.say(s.says, b.request.BuildID)
	}
	b.tell(func(e *job.Event) { e.Stage = s.name })
}

// stage is the current one.
func (b *build) stage() stage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.current
}
