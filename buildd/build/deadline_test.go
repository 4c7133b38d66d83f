package build

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// stuck is a proxy that does not end.
type stuck struct{ until <-chan struct{} }

func (s stuck) AptConf() string { return "" }

func (s stuck) Close(context.Context) error {
	<-s.until
	return nil
}

// hangUntil is a hook that goes on until it is over.
func hangUntil(over <-chan struct{}) func(context.Context) error {
	return func(context.Context) error {
		<-over
		return errors.New("too late")
	}
}

// TestEachPartOfTheEndHasADeadline, also when what does it does not look at one. It
// is named, and what it may still be using is left to the next clean-up.
func TestEachPartOfTheEndHasADeadline(t *testing.T) {
	broken := &verdict.BuildError{Outcome: verdict.PackageFail, Err: errors.New("it is broken")}
	for _, c := range []struct {
		part  Part
		limit time.Duration
		// hang makes it hang until the test is over.
		hang   func(r *rig, b *build, until <-chan struct{})
		failed bool // the build, before
		status verdict.Outcome
		calls  string
		left   bool // in the ledger
	}{
		{
			PartKill, 2 * time.Minute, func(r *rig, _ *build, until <-chan struct{}) {
				r.kill = hangUntil(until)
			}, true, "PACKAGEFAIL", "create start stop remove", false,
		},
		{
			PartRevoke, 30 * time.Second, func(_ *rig, b *build, until <-chan struct{}) {
				b.network.owed, b.network.send = true, hangUntil(until)
				b.network.parked = "a token"
				if err := b.books.record("token", b.network.parked); err != nil {
					t.Error(err)
				}
			}, false, "OK", "create start kill kill stop remove", true,
		},
		{
			PartArchives, 5 * time.Second, func(_ *rig, b *build, until <-chan struct{}) {
				b.network.archives = stuck{until}
			}, false, "OK", "create start kill kill stop remove", false,
		},
		{
			PartFiles, 30 * time.Second, func(_ *rig, b *build, until <-chan struct{}) {
				b.books.remove = func(string) error { <-until; return nil }
				if err := b.books.undoLater("/nonexistent/file"); err != nil {
					t.Error(err)
				}
			}, false, "BUILDERFAIL", "create start kill kill stop remove", true,
		},
		{
			PartKeep, 10 * time.Minute, func(r *rig, b *build, until <-chan struct{}) {
				b.keeping.settings.For = time.Hour
				b.target = &keepable{hooked: hooked{r.target, r}, during: func(string) { <-until }, left: errors.New("too late")}
			}, true, "PACKAGEFAIL", "create start kill", true,
		},
		{
			PartUnmount, 5 * time.Minute, func(r *rig, _ *build, until <-chan struct{}) {
				r.hooks["stop"] = hangUntil(until)
			}, false, "BUILDERFAIL", "create start kill kill stop", true,
		},
		{
			PartRemove, 15 * time.Minute, func(r *rig, _ *build, until <-chan struct{}) {
				r.hooks["remove"] = hangUntil(until)
			}, false, "BUILDERFAIL", "create start kill kill stop remove", true,
		},
	} {
		t.Run(string(c.part), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				until := make(chan struct{})
				r.replace(StageBuild, func(_ context.Context, b *build) error {
					c.hang(r, b, until)
					if c.failed {
						return broken
					}
					return nil
				})
				began := time.Now()
				o := r.run()
				took, calls, ledger := time.Since(began), r.calls(), r.ledger()
				close(until)
				synctest.Wait()
				if o.Status != c.status || o.Status == "BUILDERFAIL" && o.Stage != string(StageCleanup) {
					t.Errorf("the outcome is %+v", o)
				}
				if took != c.limit+partGrace {
					t.Errorf("it took %s", took)
				}
				if calls != c.calls {
					t.Errorf("the target was asked to %s", calls)
				}
				if (ledger != "none") != c.left {
					t.Errorf("the ledger is %s", ledger)
				}
				r.expectLog(string(c.part)+" hangs; it was given up after "+c.limit.String(), string(c.part)+" ")
				if got := r.times()[c.part]; got != took {
					t.Errorf("the log says that it took %s:\n%s", got, r.log())
				}
			})
		})
	}
}

// times are the parts in the summary.
func (r *rig) times() map[Part]time.Duration {
	r.Helper()
	_, line, found := strings.Cut(r.log(), "\n  Time: ")
	if !found {
		r.Fatalf("the log has no times:\n%s", r.log())
	}
	_, line, _ = strings.Cut(line, "(")
	took := map[Part]time.Duration{}
	for _, m := range regexp.MustCompile(`(\w+) ([0-9.]+) s[,)]`).FindAllStringSubmatch(line, -1) {
		d, err := time.ParseDuration(m[2] + "s")
		if err != nil {
			r.Error(err)
		}
		took[Part(m[1])] = d
	}
	return took
}

// TestALogTellsWhyAnAbortTookLong: each part of its end has its time.
func TestALogTellsWhyAnAbortTookLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		sleep := func(d time.Duration) func(context.Context) error {
			return func(context.Context) error {
				<-time.After(d)
				return nil
			}
		}
		r.kill = sleep(4 * time.Second)
		r.hooks["stop"], r.hooks["remove"] = sleep(5*time.Second), sleep(6*time.Second)
		r.replace(StageBuild, func(ctx context.Context, b *build) error {
			b.network.owed, b.network.send = true, sleep(7*time.Second)
			<-ctx.Done()
			return context.Cause(ctx)
		})
		time.AfterFunc(time.Hour, func() { r.abort(errAborted) })
		if o := r.run(); o.Status != "ABORTED" {
			t.Errorf("the outcome is %+v", o)
		}
		r.expectLog("build 3600.000 s, kill 4.000 s, revoke 7.000 s, unmount 5.000 s, remove 6.000 s)\n")
	})
}

// TestWhatEndsInTimeIsNoHang, though its time was up: then nothing uses the target
// any more.
func TestWhatEndsInTimeIsNoHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.hooks["stop"] = func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		r.stub.build = func(context.Context, builders.Env) error { return nil }
		o := r.run()
		if o.Status != "BUILDERFAIL" || o.Stage != "cleanup" || o.Cause != "unmount did not end within 5m0s: context deadline exceeded" {
			t.Errorf("the outcome is %+v", o)
		}
		if r.calls() != "create start kill kill stop remove" || r.ledger() != "none" {
			t.Errorf("the target was asked to %s, the ledger is %s", r.calls(), r.ledger())
		}
	})
}

// TestTimesOfOnePartAddUp: processes are killed after an abort, and once more at the
// end.
func TestTimesOfOnePartAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgress()
		for range 2 {
			err := p.during(t.Context(), PartKill, time.Minute, func(context.Context) error {
				<-time.After(3 * time.Second)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		if got := p.times(); got != "6.000 s (kill 6.000 s)" {
			t.Errorf("got %s", got)
		}
	})
}

func TestWhatHasBegunAndWhatHasPassed(t *testing.T) {
	p := newProgress()
	check := func(s Stage, began, passed bool) {
		t.Helper()
		if p.Began(s) != began || p.Passed(s) != passed {
			t.Errorf("%s: began %v, passed %v", s, p.Began(s), p.Passed(s))
		}
	}
	check(StagePrep, false, false)
	p.begin(StagePrep)
	check(StagePrep, true, false)
	p.end()
	check(StagePrep, true, false)
	p.begin(StageStart)
	check(StagePrep, true, true)
	check(StageStart, true, false)
	check(StageUnpack, false, false)
	if !p.firstReap() || p.firstReap() {
		t.Error("processes of a stage are killed once")
	}
	p.begin(StageBuild)
	if !p.firstReap() {
		t.Error("those of the next stage are not killed")
	}
}
