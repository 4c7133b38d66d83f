package buildd_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/state"
)

func drain(r *rig) {
	r.t.Helper()
	d := buildd.Drain{Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Reason: "new kernel"}
	if err := buildd.SetDrain(r.state(), d); err != nil {
		r.t.Fatal(err)
	}
}

func undrain(r *rig, want bool) {
	r.t.Helper()
	if was, err := buildd.Undrain(r.state()); err != nil || was != want {
		r.t.Fatalf("undrain: %v, %v", was, err)
	}
}

// refuses checks that a build is refused, with this reason.
func (r *rig) refuses(why string) {
	r.t.Helper()
	err := r.Build(r.t.Context(), r.request("succeed"))
	if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || fault.Reason != "build: "+why {
		r.t.Errorf("build: %v, want %s", err, why)
	}
}

const drainedText = "this builder is drained by its operator since 2026-01-02 03:04 UTC (new kernel); it builds again after 'lpbuildd undrain'"

func TestADrainedBuilderTakesNoBuildUntilItIsUndrained(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		drain(r)
		for range 2 {
			if s := r.Status(); s.State != buildd.Idle || s.Drained != drainedText {
				t.Errorf("drained: %+v", s)
			}
			r.refuses(drainedText)
			r.restart()
		}
		undrain(r, true)
		undrain(r, false)
		if s := r.Status(); s.Drained != "" {
			t.Errorf("undrained: %+v", s)
		}
		r.build("succeed")
		r.is(buildd.Waiting)
	})
}

func TestDrainingDisturbsNoBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.build("succeed when aborted", adds(result))
		drain(r)
		if s := r.Status(); s.State != buildd.Building || s.Drained != "" || s.LogTail == nil {
			t.Errorf("building: %+v", s)
		}
		seen, err := buildd.Look(r.state())
		if err != nil || seen.State != buildd.Building || seen.BuildID != "B-1" || !slices.Equal(seen.InUse, []string{r.image}) {
			t.Errorf("looks like %+v, %v", seen, err)
		}
		r.abort()
		r.is(buildd.Waiting)
		r.restart()
		if s := r.Status(); s.State != buildd.Waiting || s.Drained != "" || !r.has(result) {
			t.Errorf("waiting: %+v", s)
		}
		r.clean()
		if s := r.Status(); s.Drained != drainedText {
			t.Errorf("after clean: %+v", s)
		}
		if seen, err = buildd.Look(r.state()); err != nil || seen.State != buildd.Idle || len(seen.InUse) > 0 {
			t.Errorf("looks like %+v, %v", seen, err)
		}
	})
}

// TestADrainedBuilderTellsAManagerOfItsLossBeforeItFallsSilent: a manager takes a lost
// build back, at no cost for the build, from a builder that says IDLE, and from no
// other. What the daemon, its log and its operator ask is no answer to a manager.
func TestADrainedBuilderTellsAManagerOfItsLossBeforeItFallsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		drain(r)
		r.found(func() {})
		idle := func(when string) {
			t.Helper()
			if s := r.is(buildd.Idle); s.Drained != "" {
				t.Fatalf("%s: %+v", when, s)
			}
		}
		for range 10 {
			idle("before a manager was told")
			r.Told(buildd.Status{State: buildd.Building}) // of something else
			r.Told(buildd.Status{State: buildd.Idle, Drained: buildd.BrokenText})
			r.pass(time.Minute)
		}
		r.refuses(drainedText)
		r.Told(r.Status())
		idle("just after a manager was told")
		r.pass(13 * time.Second)
		idle("while the same answer may be asked for again")
		r.Told(r.Status())
		r.pass(time.Second)
		for range 2 {
			// What was told is told once.
			if s := r.is(buildd.Idle); s.Drained != drainedText {
				t.Errorf("after 14 seconds: %+v", s)
			}
			r.Told(r.Status())
			r.pass(time.Minute)
		}
	})
}

// TestADrainIsLogged once, and so is its end; asking alone logs nothing.
func TestADrainIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		logged := func(drained, undrained int) {
			t.Helper()
			if d, u := r.log.count("Builder is drained by its operator"), r.log.count("Builder takes builds again"); d != drained || u != undrained {
				t.Errorf("the log says %d times that it is drained, and %d times that it is not:\n%s", d, u, r.log)
			}
		}
		drain(r)
		r.Status()
		logged(0, 0)
		r.refuses(drainedText)
		r.Told(r.Status())
		logged(1, 0)
		undrain(r, true)
		r.Status()
		logged(1, 0)
		r.Told(r.Status())
		logged(1, 1)
		ctx, stop := context.WithCancelCause(t.Context())
		go r.WatchDisk(ctx)
		synctest.Wait()
		drain(r)
		r.pass(29 * time.Second)
		logged(1, 1)
		r.pass(time.Second)
		logged(2, 1)
		stop(nil)
		synctest.Wait()
	})
}

func TestADrainThatCannotBeReadIsOne(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.write(r.inState("drained.json"), "{")
		if s := r.Status(); !strings.HasPrefix(s.Drained, buildd.DrainedText+";") {
			t.Errorf("got %+v", s)
		}
	})
}

func TestDrainFailsWithoutAStateFolder(t *testing.T) {
	dir := t.TempDir() + "/none"
	if err := buildd.SetDrain(state.Folder(dir), buildd.Drain{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("drain: %v", err)
	}
	if was, err := buildd.Undrain(state.Folder(dir)); was || err != nil {
		t.Errorf("undrain: %v, %v", was, err)
	}
}

// BenchmarkReadDrain is what the status of an idle builder costs more.
func BenchmarkReadDrain(b *testing.B) {
	folder := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		if buildd.ReadDrain(state.Folder(folder)) != nil {
			b.Fatal("drained")
		}
	}
}
