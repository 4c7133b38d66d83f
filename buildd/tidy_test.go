package buildd_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
)

func TestWhatASupervisorLeavesThatDiesAfterItsOutcomeIsCleanedUp(t *testing.T) {
	t.Run("while there was no daemon", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.found(func() {
				r.write(r.inState("build", "ledger"), "")
				if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
					t.Fatal(err)
				}
			})
			r.is(buildd.Waiting)
			if left := r.leftovers(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	})
	t.Run("unless it was left for the reset of the machine", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.found(func() {
				r.write(r.inState("build", "ledger"), "")
				if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "OK", LeftForReset: true}); err != nil {
					t.Fatal(err)
				}
			})
			r.is(buildd.Waiting)
			r.pass(time.Hour)
			if left := r.leftovers(); len(left) != 1 {
				t.Errorf("left: %v, and not the ledger alone", left)
			}
		})
	})
	t.Run("under a restarted daemon", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *rig) {
			r.build("succeed when told and die", adds(r.store("a result")))
			r.restart()
			r.root.last().goOn()
			synctest.Wait()
			r.is(buildd.Waiting)
			if left := r.leftovers(); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	})
}

// TestAbortDoesNotWaitForTheCleanUp of a build whose supervisor died.
func TestAbortDoesNotWaitForTheCleanUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		finish := r.root.hold()
		r.build("die in a stage")
		if !r.root.cleansUp() {
			t.Fatal("no clean-up goes on")
		}
		r.abort()
		r.is(buildd.Aborting)
		finish()
		synctest.Wait()
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("waiting: %+v", s)
		}
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestCleanDoesNotWaitForTheCleanUp of a supervisor that died when its outcome was
// written. The next build waits, since it would share the folder.
func TestCleanDoesNotWaitForTheCleanUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		finish := r.root.hold()
		r.build("succeed when told and die", adds(r.store("a result")))
		r.root.last().goOn()
		synctest.Wait()
		r.is(buildd.Waiting)
		if !r.root.cleansUp() {
			t.Fatal("no clean-up goes on")
		}
		r.clean()
		r.is(buildd.Idle)
		built := make(chan error, 1)
		go func() { built <- r.Build(t.Context(), r.request("succeed")) }()
		r.pass(19 * time.Second)
		select {
		case err := <-built:
			t.Fatalf("build() does not wait until its folder is clean: %v", err)
		default:
		}
		r.is(buildd.Idle)
		finish()
		if err := <-built; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s := r.is(buildd.Waiting); s.Outcome != "OK" {
			t.Errorf("the next build: %+v", s)
		}
	})
}

// TestABuildWaitsForACleanUpOnlySoLong: its manager would have gone, and the build
// would run for nobody.
func TestABuildWaitsForACleanUpOnlySoLong(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		finish := r.root.hold()
		defer finish()
		r.build("succeed when told and die", adds(r.store("a result")))
		r.root.last().goOn()
		synctest.Wait()
		r.is(buildd.Waiting)
		if !r.root.cleansUp() {
			t.Fatal("no clean-up goes on")
		}
		r.clean()
		begun := time.Now()
		err := r.Build(t.Context(), r.request("succeed"))
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("it took %s", took)
		}
		if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || !strings.Contains(fault.Reason, "still being undone") {
			t.Errorf("build(): %v", err)
		}
		if s := r.Status(); s.State != buildd.Idle {
			t.Errorf("now %+v", s)
		}
	})
}
