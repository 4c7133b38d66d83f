package buildd_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// slowCleanup restarts the daemon with a clean-up that does not end before the
// returned function is called.
func (r *rig) slowCleanup() (finish func()) {
	r.t.Helper()
	r.Close()
	slow := []string{"sh", "-c", `>"$0"; until [ -e "$1" ]; do sleep 0.01; done; shift; exec "$@"`, r.inState("begun"), r.inState("finish")}
	r.config.Launcher.Cleanup = append(slow, r.config.Launcher.Cleanup...)
	r.start()
	return func() { r.write(r.inState("finish"), "") }
}

// cleansUp says whether a slow clean-up has begun.
func (r *rig) cleansUp() bool {
	_, err := os.Lstat(r.inState("begun"))
	return err == nil
}

// answersDuringTheCleanUp checks that a call succeeds, and leads to a state,
// although a slow clean-up goes on.
func (r *rig) answersDuringTheCleanUp(name string, call func(context.Context) error, state buildd.State) {
	r.t.Helper()
	answered := make(chan error, 1)
	go func() { answered <- call(r.t.Context()) }()
	select {
	case err := <-answered:
		if s := r.Status(); err != nil || s.State != state {
			r.t.Errorf("%s: %v, now %+v", name, err, s)
		}
	case <-time.After(patience):
		r.t.Fatalf("%s waits for the clean-up", name)
	}
}

func TestWhatASupervisorLeavesThatDiesAfterItsOutcomeIsCleanedUp(t *testing.T) {
	t.Run("while there was no daemon", func(t *testing.T) {
		r := newRig(t)
		r.found(func() {
			r.write(state.Build(r.inState("build")).Ledger(), "")
			if err := job.WriteOutcome(state.Build(r.inState("build")), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
				t.Fatal(err)
			}
		})
		r.awaitEnd()
		r.await("clean-up", func(buildd.Status) bool { return len(leftovers(t, r.config.Cache.StateDir())) == 0 })
	})
	t.Run("unless it was left for the reset of the machine", func(t *testing.T) {
		r := newRig(t)
		r.found(func() {
			r.write(state.Build(r.inState("build")).Ledger(), "")
			if err := job.WriteOutcome(state.Build(r.inState("build")), job.Outcome{BuildID: "B-1", Status: "OK", LeftForReset: true}); err != nil {
				t.Fatal(err)
			}
		})
		r.awaitEnd()
		<-time.After(100 * time.Millisecond) // a clean-up would go on behind
		if left := leftovers(t, r.config.Cache.StateDir()); len(left) != 1 {
			t.Errorf("left: %v, and not the ledger alone", left)
		}
	})
	t.Run("under a restarted daemon", func(t *testing.T) {
		r := newRig(t)
		r.config.RetryDelay = 5 * time.Millisecond
		r.build("succeed when told and die", "result", r.store("a result"))
		r.awaitSupervisor()
		r.restart()
		r.write(r.inState("build", "go"), "")
		r.awaitEnd()
		r.await("clean-up", func(buildd.Status) bool { return len(leftovers(t, r.config.Cache.StateDir())) == 0 })
	})
}

// TestAbortDoesNotWaitForTheCleanUp of a build whose supervisor died.
func TestAbortDoesNotWaitForTheCleanUp(t *testing.T) {
	r := newRig(t)
	finish := r.slowCleanup()
	r.build("die in a stage")
	r.await("clean-up", func(buildd.Status) bool { return r.cleansUp() })
	r.answersDuringTheCleanUp("abort()", r.Abort, buildd.Aborting)
	finish()
	if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" {
		t.Errorf("waiting: %+v", s)
	}
	if left := leftovers(t, r.config.Cache.StateDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestCleanDoesNotWaitForTheCleanUp of a supervisor that died when its outcome was
// written. The next build waits, since it would share the folder.
func TestCleanDoesNotWaitForTheCleanUp(t *testing.T) {
	r := newRig(t)
	finish := r.slowCleanup()
	r.build("succeed when told and die", "result", r.store("a result"))
	r.awaitSupervisor()
	r.write(r.inState("build", "go"), "")
	r.awaitEnd()
	r.await("clean-up", func(buildd.Status) bool { return r.cleansUp() })
	r.answersDuringTheCleanUp("clean()", r.Clean, buildd.Idle)
	built := make(chan error, 1)
	next := buildd.Request{BuildID: "B-2", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "succeed"}}
	go func() { built <- r.Build(t.Context(), next) }()
	select {
	case err := <-built:
		t.Fatalf("build() does not wait until its folder is clean: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	finish()
	if err := <-built; err != nil {
		t.Fatal(err)
	}
	if s := r.awaitEnd(); s.Outcome != "OK" {
		t.Errorf("the next build: %+v", s)
	}
}

// TestABuildWaitsForACleanUpOnlySoLong: its manager would have gone, and the build
// would run for nobody.
func TestABuildWaitsForACleanUpOnlySoLong(t *testing.T) {
	r := newRig(t)
	r.config.BuildWait = 500 * time.Millisecond
	finish := r.slowCleanup()
	defer finish()
	r.build("succeed when told and die", "result", r.store("a result"))
	r.awaitSupervisor()
	r.write(r.inState("build", "go"), "")
	r.awaitEnd()
	r.await("clean-up", func(buildd.Status) bool { return r.cleansUp() })
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := r.Build(t.Context(), buildd.Request{BuildID: "B-2", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "succeed"}})
	if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || !strings.Contains(fault.Reason, "still being undone") {
		t.Errorf("build(): %v", err)
	}
	if s := r.Status(); s.State != buildd.Idle {
		t.Errorf("now %+v", s)
	}
}
