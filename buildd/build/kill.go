package build

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// abortShown is how long an aborted build stays ABORTING at least. It would be
// over within milliseconds, and who looks right after abort() would see now one
// state, now the other.
const abortShown = 250 * time.Millisecond

// killer waits for the end of a context, to kill what the build runs.
type killer struct {
	// gaveUp is closed when something does not die in time.
	gaveUp     chan struct{}
	over, done chan struct{}
}

// startKiller kills everything that the build runs as soon as ctx is cancelled.
func (b *build) startKiller(ctx context.Context) *killer {
	k := &killer{gaveUp: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(k.done)
		if err := b.killOnCancel(ctx, k.over); err != nil {
			b.say("ABORTING: Failed to kill all processes.\n%v", err)
			close(k.gaveUp)
		}
	}()
	return k
}

// stop tells the killer that no stage runs any more, and says whether
// everything that it had to kill is dead.
func (k *killer) stop() (dead bool) {
	close(k.over)
	<-k.done
	select {
	case <-k.gaveUp:
		return false
	default:
		return true
	}
}

// killOnCancel waits for the end of the stages or of ctx, and after the latter
// until everything is dead and the stages are over. Its error says what was
// not, within the time limit (spec: protocol.md section 8).
func (b *build) killOnCancel(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return nil
	}
	shown := time.After(abortShown)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.request.Settings.AbortLimit)
	defer cancel()
	if err := b.reap(deadline); err != nil {
		return err
	}
	select {
	case <-over:
		<-shown
		return nil
	case <-deadline.Done():
		return fmt.Errorf("the stage %s does not end although its processes did", b.stage().name)
	}
}

// reap kills everything that the current stage has left running; once a stage.
func (b *build) reap(ctx context.Context) error {
	b.mu.Lock()
	stage, again := b.current.wire, b.reaped
	b.reaped = true
	b.mu.Unlock()
	if again {
		b.say("Already reaped from state %s...", stage)
		return nil
	}
	b.announce(b.operation("scan-for-processes")...)
	b.say("Scanning for processes to kill in build %s", b.request.BuildID)
	return errors.Join(b.killAll(ctx), b.target.KillProcesses(ctx))
}
