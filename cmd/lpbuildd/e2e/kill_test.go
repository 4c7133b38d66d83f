//go:build integration

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKill kills the daemon, and processes of the supervisor, at random moments
// of cheap builds. LPBUILDD_KILLS says how often, LPBUILDD_SEED repeats a run.
func TestKill(t *testing.T) {
	b := newBuilder(t, options{config: "[cache]\nroots = 1\n"})
	b.killCheaply(number(t, "LPBUILDD_KILLS", 120))
}

// TestKillUnprivileged does the same with the daemon as it is installed.
func TestKillUnprivileged(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: "[cache]\nroots = 1\n"})
	b.killCheaply((number(t, "LPBUILDD_KILLS", 120) + 5) / 6)
}

// killCheaply uses more images than are kept unpacked.
func (b *builder) killCheaply(times int) {
	b.useStandIn()
	works := []work{b.steady(b.cheapImage(8 << 20)), b.steady(b.cheapImage(9 << 20))}
	b.killAtRandom(times, works)
}

// TestKillReal kills in builds of a real package. LPBUILDD_REAL_KILLS says how
// often.
func TestKillReal(t *testing.T) {
	b := newBuilder(t, options{})
	b.killAtRandom(number(t, "LPBUILDD_REAL_KILLS", 8), []work{b.realPackage(b.baseImage(), "true")})
}

// killAtRandom carries out random plans.
func (b *builder) killAtRandom(times int, works []work) {
	t := b.t
	seed := number(t, "LPBUILDD_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("LPBUILDD_SEED=%d", seed)
	b.undisturbed(works[0]) // which unpacks the image
	length := b.undisturbed(works[0])
	t.Logf("an undisturbed build takes %s", length)
	for i := range times {
		random := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		p := b.newPlan(random, fmt.Sprintf("kill-%d", i), len(works), length)
		began := time.Now()
		c := b.carryOut(p, works[p.work])
		if err := b.survive(c); err != nil {
			t.Fatalf("LPBUILDD_SEED=%d, iteration %d, %s\ndaemon died: %t, supervisor died: %t, last call answered: %t\n%v",
				seed, i, p, c.daemonDied, c.supervisorDied, c.answered, err)
		}
		b.checkLeaks()
		if testing.Verbose() {
			t.Logf("%s: %s", p, time.Since(began))
		}
		if t.Failed() {
			return
		}
	}
	b.summarise()
}

// undisturbed does work and returns how long it took.
func (b *builder) undisturbed(w work) time.Duration {
	b.t.Helper()
	began := time.Now()
	st, _ := b.run("undisturbed", w, "OK")
	took := time.Since(began)
	must(b.t, b.verify(w, st))
	b.clean()
	return took
}

// summarise tells how soon the daemon answered, and what it complained about.
func (b *builder) summarise() {
	b.t.Logf("%d starts of the daemon, the first answer after %s to %s, median %s",
		len(b.starts), slices.Min(b.starts), slices.Max(b.starts), slices.Sorted(slices.Values(b.starts))[len(b.starts)/2])
	data, err := os.ReadFile(filepath.Join(b.dir, "daemon.log"))
	must(b.t, err)
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, "panic: ") || strings.Contains(line, "DATA RACE") {
			b.t.Errorf("the daemon's log says %s", line)
		}
	}
}

// number is that of an environment variable.
func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}
