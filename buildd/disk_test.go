package buildd_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
)

// TestABuildEndsThoughItsEndCannotBeWritten: on a disk that turned read-only it
// would be tried for ever. A folder in the place of the journal stands for that.
func TestABuildEndsThoughItsEndCannotBeWritten(t *testing.T) {
	for name, script := range map[string]string{"a good build": "succeed when told", "a supervisor that died": "die when told"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.build(script)
				repair := r.breakJournal()
				r.root.last().goOn()
				synctest.Wait()
				r.pass(59 * time.Second)
				r.is(buildd.Building)
				r.pass(time.Second)
				if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" || s.BuildID != "B-1" || len(s.FileMap) > 0 {
					t.Errorf("it ended as %+v", s)
				}
				if err := r.Clean(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot write the journal") {
					t.Errorf("clean(): %v", err)
				}
				r.pass(5 * time.Second)
				repair()
				r.pass(5 * time.Second)
				r.restart()
				if s := r.Status(); s.Outcome != "BUILDERFAIL" {
					t.Errorf("after a restart: %+v", s)
				}
				r.works()
			})
		})
	}
}

// TestABuilderThatCannotWriteTakesNoBuilds, says why, and goes on by itself.
func TestABuilderThatCannotWriteTakesNoBuilds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		dir, away := r.inState("build"), r.inState("away")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		request := r.request("succeed")
		var fault *buildd.Fault
		const calls = 50
		before := runtime.NumGoroutine()
		for range calls {
			if err := r.Build(t.Context(), request); !errors.As(err, &fault) {
				t.Errorf("build(): %v", err)
			}
		}
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n > 1 {
			t.Errorf("%d goroutines look at the disk", n)
		}
		r.pass(time.Minute)
		if n := r.log.count("The builder cannot write its state"); n != 1 {
			t.Errorf("it says so %d times", n)
		}
		if s := r.Status(); s.State != buildd.Idle || !strings.HasPrefix(s.Drained, buildd.BrokenText+": ") || !strings.Contains(s.Drained, dir) {
			t.Errorf("it says %+v", s)
		}
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		changes := r.changes.count()
		r.pass(5 * time.Second)
		if s := r.Status(); s.Drained != "" || r.changes.count() != changes+1 {
			t.Errorf("it says %+v", s)
		}
		r.works()
	})
}

// TestAnIdleBuilderNoticesThatItCannotWrite, without a build that it has to refuse.
func TestAnIdleBuilderNoticesThatItCannotWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		dir, away := r.inState("build"), r.inState("away")
		if err := os.Rename(dir, away); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancelCause(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.WatchDisk(ctx)
		}()
		synctest.Wait()
		if s := r.Status(); !strings.HasPrefix(s.Drained, buildd.BrokenText+": ") {
			t.Errorf("it says %+v", s)
		}
		stop(nil)
		<-done
		if err := os.Rename(away, dir); err != nil {
			t.Fatal(err)
		}
		changes := r.changes.count()
		r.pass(5 * time.Second)
		if s := r.Status(); s.Drained != "" || r.changes.count() != changes+1 {
			t.Errorf("it says %+v", s)
		}
		r.works()
	})
}
