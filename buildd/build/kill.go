package build

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lpbuildd/buildd/namespace"
)

// reaper kills what a build runs.
type reaper struct {
	voice    *voice
	progress *progress
	target   target
	killAll  func(ctx context.Context) error
	// limit is how long everything may take to die.
	limit time.Duration
}

// reap kills everything that the current stage has left running; once a stage.
func (r *reaper) reap(ctx context.Context) error {
	if !r.progress.firstReap() {
		r.voice.say("Already reaped from state %s...", r.progress.stage().wire())
		return nil
	}
	r.voice.announce(r.voice.operation("scan-for-processes")...)
	r.voice.say("Scanning for processes to kill in build %s", r.voice.buildID)
	return r.kill(ctx)
}

// kill kills everything that the build runs.
func (r *reaper) kill(ctx context.Context) error {
	return r.progress.during(ctx, PartKill, r.limit, func(ctx context.Context) error {
		return errors.Join(r.killAll(ctx), r.target.KillProcesses(ctx))
	})
}

// endStrays ends what the build has left running, but for what gathering itself
// needs in the target. What does not end can do no more than spoil a result, and
// is named.
func (r *reaper) endStrays(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	strays := running()
	var err error
	if c, ok := r.target.(*container); ok {
		strays, err = c.endStrays(ctx)
	} else {
		err = errors.Join(r.killAll(ctx), r.target.KillProcesses(ctx))
	}
	if err != nil {
		r.voice.say("%v", err)
	}
	if strays != "" {
		r.voice.say("Ended what the build had left running before its results are gathered: %s", strays)
	}
}

// maxRunning is how many processes a message names.
const maxRunning = 10

// running names what runs in the namespace of the build; "" if nothing does.
func running() string {
	if namespace.Inside() != nil {
		return ""
	}
	alive, err := namespace.Survivors()
	if err != nil || len(alive) == 0 {
		return ""
	}
	if more := len(alive) - maxRunning; more > 0 {
		alive = append(alive[:maxRunning], fmt.Sprintf("%d more", more))
	}
	return strings.Join(alive, ", ")
}

// abortShown is how long an aborted build stays ABORTING at least. It would be
// over within milliseconds, and who looks right after abort() would see now one
// state, now the other.
const abortShown = 250 * time.Millisecond

// killer waits for the end of a context, to kill what the build runs.
type killer struct {
	reaper *reaper
	// gaveUp is closed when something does not die in time.
	gaveUp     chan struct{}
	over, done chan struct{}
}

// startKiller kills everything that the build runs as soon as ctx is cancelled.
func startKiller(ctx context.Context, r *reaper) *killer {
	k := &killer{reaper: r, gaveUp: make(chan struct{}), over: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(k.done)
		if err := k.killOnCancel(ctx); err != nil {
			r.voice.say("ABORTING: Failed to kill all processes.\n%v", err)
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
func (k *killer) killOnCancel(ctx context.Context) error {
	select {
	case <-k.over:
	case <-ctx.Done():
	}
	if ctx.Err() == nil {
		return nil
	}
	shown := time.After(abortShown)
	deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.reaper.limit)
	defer cancel()
	if err := k.reaper.reap(deadline); err != nil {
		return err
	}
	select {
	case <-k.over:
		<-shown
		return nil
	case <-deadline.Done():
		return fmt.Errorf("the stage %s does not end although its processes did", k.reaper.progress.stage())
	}
}
