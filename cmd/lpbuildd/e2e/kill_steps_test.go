//go:build integration

package e2e

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// steps are what the log of a cheap build says, from its beginning to its end.
func steps() []string {
	return []string{
		"builder-prep", "unpack-chroot", "mount-chroot", "override-sources-list", "update-debian-chroot",
		"steady 1.", "steady end.", "remove-build",
	}
}

// TestKillAtEveryStep kills each process of the chain, from the daemon to the
// worker, at each step of a build, and stops some instead: a sudo whose child is
// stopped stops itself. LPBUILDD_SEED repeats a run.
func TestKillAtEveryStep(t *testing.T) {
	seed := number(t, "LPBUILDD_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("LPBUILDD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	b := newBuilder(t, options{user: "buildd", config: "[limits]\nabort = 1s\n"})
	b.useStandIn()
	w := b.steady(b.cheapImage(1 << 20))
	b.undisturbed(w)
	chain := []string{theDaemon, "sudo", "supervise", "supervise-init", "supervise-run"}
	for s, step := range steps() {
		for v, victim := range chain {
			// Each of them is stopped once.
			signal := syscall.SIGKILL
			if s == (v+seed)%len(steps()) {
				signal = syscall.SIGSTOP
			}
			p := plan{id: fmt.Sprintf("step-%d-%d", s, v), reach: building, victims: []string{victim}, after: span(random, 20*time.Millisecond)}
			if err := b.survive(b.strike(p, w, step, signal)); err != nil {
				t.Fatalf("LPBUILDD_SEED=%d, signal %d at %q, %s\n%v", seed, signal, step, p, err)
			}
			if b.checkLeaks(); t.Failed() {
				t.Fatalf("LPBUILDD_SEED=%d, signal %d at %q, %s", seed, signal, step, p)
			}
		}
	}
	b.summarise()
}

// strike sends the victim of a plan a signal when a build is at a step. What is
// stopped would stay so: a daemon is killed then, as by the watchdog, and the
// build of another is aborted.
func (b *builder) strike(p plan, w work, step string, signal syscall.Signal) casualty {
	b.t.Helper()
	c := casualty{plan: p, work: w, answered: true}
	b.build(p.id, w)
	b.reaches(step)
	<-time.After(p.after)
	if signal == syscall.SIGKILL {
		b.slay(&c)
		return c
	}
	victim := b.cmd.Process.Pid
	if p.victims[0] != theDaemon {
		victim = b.supervisors()[p.victims[0]]
	}
	if victim == 0 {
		return c // it was over before
	}
	must(b.t, syscall.Kill(victim, signal))
	if p.victims[0] == theDaemon {
		b.slay(&c)
		return c
	}
	c.supervisorDied, c.reach = true, aborting
	c.answered = b.client.Abort(b.t.Context()) == nil // it may be too late for that
	return c
}
