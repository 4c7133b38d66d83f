//go:build integration

package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"syscall"
	"time"

	"lpbuildd/buildd"
)

// plan is what one iteration of a kill test does.
type plan struct {
	id string
	// reach is what the builder is doing when something dies.
	reach string
	// after is the pause between the beginning of that and the first death.
	after time.Duration
	// abortAfter is when, after its beginning, a build is aborted.
	abortAfter time.Duration
	// victims are killed in this order: "daemon", or a role of the supervisor's
	// processes.
	victims []string
	work    int
}

// All that a builder can be doing.
const (
	resting   = "rest"
	fetching  = "ensurepresent"
	starting  = "the call of build"
	building  = "a build"
	ending    = "the end of a build"
	aborting  = "an abort"
	waiting   = "waiting"
	clearing  = "the call of clean"
	theDaemon = "daemon"
)

// victims picks who dies: the daemon, one of the supervisor's processes, or
// both in either order.
func (b *builder) victims(random *rand.Rand) []string {
	roles := []string{"supervise", "supervise-init", "supervise-run"}
	if b.user == "buildd" {
		roles = append(roles, "sudo")
	}
	one := roles[random.IntN(len(roles))]
	switch random.IntN(5) {
	case 0, 1:
		return []string{theDaemon}
	case 2:
		return []string{one}
	case 3:
		return []string{theDaemon, one}
	}
	return []string{one, theDaemon}
}

// span is a random duration up to most.
func span(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

// newPlan makes a plan for builds that take about so long. Those of long ones
// are all about builds.
func (b *builder) newPlan(random *rand.Rand, id string, works int, length time.Duration) plan {
	p := plan{id: id, work: random.IntN(works), victims: b.victims(random), after: span(random, 20*time.Millisecond)}
	kinds := 16
	if length > 3*time.Second {
		kinds = 12
	}
	switch kinds - 1 - random.IntN(kinds) {
	case 15:
		p.reach, p.victims = resting, []string{theDaemon}
	case 14:
		p.reach, p.victims, p.after = fetching, []string{theDaemon}, span(random, 300*time.Millisecond)
	case 12, 13:
		p.reach = starting
	case 0, 1:
		p.reach, p.abortAfter, p.after = aborting, span(random, length), span(random, 100*time.Millisecond)
	case 2:
		p.reach = waiting
	case 3:
		p.reach, p.victims, p.after = clearing, []string{theDaemon}, span(random, 5*time.Millisecond)
	case 4, 5:
		p.reach, p.after = ending, span(random, 150*time.Millisecond)
	default:
		p.reach, p.after = building, span(random, length)
	}
	return p
}

func (p plan) String() string {
	return fmt.Sprintf("%s: during %s (%s, abort %s) kill %v; work %d", p.id, p.reach, p.after, p.abortAfter, p.victims, p.work)
}

// casualty is what an iteration knows after the deaths.
type casualty struct {
	plan
	work
	// answered says whether the manager got the answer to the last call.
	answered bool
	// daemonDied and supervisorDied tell who was there to be killed.
	daemonDied, supervisorDied bool
	// before and log are what was announced.
	before buildd.Status
	log    string
}

// carryOut brings the builder to the state of the plan and kills the victims.
func (b *builder) carryOut(p plan, w work) casualty {
	b.t.Helper()
	c := casualty{plan: p, work: w, answered: true}
	call := func(do func(context.Context) error) (wait func()) {
		c.answered = false
		var wg sync.WaitGroup
		wg.Go(func() { c.answered = do(context.WithoutCancel(b.t.Context())) == nil })
		return wg.Wait
	}
	wait := func() {}
	switch p.reach {
	case fetching:
		wait = call(b.fetchSlowly(p.id))
	case starting:
		wait = call(func(ctx context.Context) error { return b.client.Build(ctx, w.request(p.id)) })
	case building:
		b.build(p.id, w)
	case ending:
		b.build(p.id, w)
		b.reaches(w.last)
	case aborting:
		b.build(p.id, w)
		<-time.After(p.abortAfter)
		// It may be too late for that.
		c.answered = b.client.Abort(b.t.Context()) == nil
	case waiting, clearing:
		b.build(p.id, w)
		c.before, c.log = b.settled(), b.log()
		if p.reach == clearing {
			wait = call(b.client.Clean)
		}
	}
	<-time.After(p.after)
	b.slay(&c)
	wait()
	return c
}

// slay kills the victims that are there.
func (b *builder) slay(c *casualty) {
	for _, victim := range c.victims {
		if victim == theDaemon {
			b.kill()
			c.daemonDied = true
			continue
		}
		if pid, there := b.supervisors()[victim]; there {
			c.supervisorDied = syscall.Kill(pid, syscall.SIGKILL) == nil || c.supervisorDied
		}
	}
}

// fetchSlowly is a call of ensurepresent for a file that takes a while.
func (b *builder) fetchSlowly(id string) func(context.Context) error {
	data := make([]byte, 8<<20)
	copy(data, id)
	sum := sha1Of(data)
	b.known[sum] = true
	url := b.origin.add("/"+sum, served{data: data, pause: time.Millisecond})
	return func(ctx context.Context) error {
		got, err := b.client.EnsurePresent(ctx, sum, buildd.Source{URL: &url})
		if err == nil && !got.Present {
			err = errors.New(got.Info)
		}
		return err
	}
}

// survive starts the daemon if it died, and says what is wrong with how the
// builder goes on until it is idle.
func (b *builder) survive(c casualty) error {
	b.t.Helper()
	var st buildd.Status
	if c.daemonDied {
		st = b.start()
		if took := b.starts[len(b.starts)-1]; took > restartLimit {
			return fmt.Errorf("the first status came after %s", took)
		}
	} else {
		st = b.status()
	}
	if err := c.truthful(st); err != nil {
		return fmt.Errorf("the first status is %s %s %q: %w", st.State, st.Outcome, st.BuildID, err)
	}
	if st = b.settled(); st.State == buildd.Waiting {
		if err := b.presents(c, st); err != nil {
			return fmt.Errorf("the builder ends as %s %q: %w", st.Outcome, st.BuildID, err)
		}
		must(b.t, b.client.Clean(b.t.Context()))
	} else if err := c.truthful(st); err != nil {
		return fmt.Errorf("the last status is %s: %w", st.State, err)
	}
	return nil
}

// truthful says what is wrong with a status.
func (c casualty) truthful(st buildd.Status) error {
	if st.State != buildd.Idle && st.BuildID != c.id {
		return errors.New("it is about another build")
	}
	both := c.daemonDied && c.supervisorDied
	var allowed []buildd.State
	switch c.reach {
	case resting, fetching:
		allowed = []buildd.State{buildd.Idle}
	case waiting:
		allowed = []buildd.State{buildd.Waiting}
	case clearing:
		allowed = []buildd.State{buildd.Idle}
		if !c.answered {
			allowed = append(allowed, buildd.Waiting)
		}
	case starting, building, ending, aborting:
		allowed = []buildd.State{buildd.Building, buildd.Aborting, buildd.Waiting}
		if both || c.reach == starting && !c.answered {
			allowed = append(allowed, buildd.Idle)
		}
		if c.reach == aborting && c.answered {
			allowed = slices.DeleteFunc(allowed, func(s buildd.State) bool { return s == buildd.Building })
		}
		if c.reach != aborting {
			allowed = slices.DeleteFunc(allowed, func(s buildd.State) bool { return s == buildd.Aborting })
		}
	}
	if !slices.Contains(allowed, st.State) {
		return fmt.Errorf("only %v would be true", allowed)
	}
	if st.State == buildd.Waiting {
		return c.outcome(st)
	}
	return nil
}

// outcome says what is wrong with how a build has ended.
func (c casualty) outcome(st buildd.Status) error {
	if c.before.State == buildd.Waiting && !reflect.DeepEqual(st, c.before) {
		return fmt.Errorf("announced was %+v", c.before)
	}
	var allowed []string
	switch {
	case c.reach == aborting && c.answered:
		allowed = []string{"ABORTED"}
	case c.reach == starting && !c.answered:
		allowed = []string{"OK", "BUILDERFAIL"}
	default:
		allowed = []string{"OK"}
	}
	if c.supervisorDied && c.before.State != buildd.Waiting {
		allowed = append(allowed, "BUILDERFAIL")
	}
	if !slices.Contains(allowed, string(st.Outcome)) {
		return fmt.Errorf("only %v would be true; cause in the log", allowed)
	}
	return nil
}

// presents says what is wrong with a builder that waits.
func (b *builder) presents(c casualty, st buildd.Status) error {
	if err := c.outcome(st); err != nil {
		return err
	}
	if c.before.State == buildd.Waiting && b.log() != c.log {
		return errors.New("the log has changed")
	}
	if st.Outcome == "OK" {
		return b.verify(c.work, st)
	}
	log := b.log()
	if st.Outcome == "ABORTED" && inOrder(log, c.lines) == nil {
		return nil // the build was over, but not yet announced, when it was aborted
	}
	return inOrder(log, []string{"Build summary\n", "Result:     " + string(st.Outcome)})
}
