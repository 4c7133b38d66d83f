package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func TestAFailedCleanUpCountsOnlyWhenNothingFailedBefore(t *testing.T) {
	for _, c := range []struct {
		name, step string
		buildErr   error
		status     verdict.Outcome
		stage      string
		left       bool // the ledger keeps the build directory
	}{
		{"stop after a good build", "stop", nil, "BUILDERFAIL", "cleanup", false},
		{"remove after a good build", "remove", nil, "BUILDERFAIL", "cleanup", true},
		{"stop after a failed build", "stop", &verdict.BuildError{Outcome: verdict.PackageFail}, "PACKAGEFAIL", "build", false},
		{"remove after a failed build", "remove", &verdict.BuildError{Outcome: verdict.PackageFail}, "PACKAGEFAIL", "build", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.stub.build = func(context.Context, builders.Env) error { return c.buildErr }
			r.target.Fail(c.step, errors.New("the mount is busy"))
			o := r.run()
			if o.Status != c.status || o.Stage != c.stage {
				t.Errorf("the outcome is %+v", o)
			}
			want := "create start kill stop remove"
			if c.buildErr == nil {
				want = "create start kill kill stop remove" // once before gathering
			}
			if calls := r.calls(); calls != want {
				t.Errorf("the target was asked to %s", calls)
			}
			if c.buildErr != nil {
				r.expectLog("Clean-up failed: the mount is busy\n")
				if !strings.Contains(r.daemon.String(), "the mount is busy") {
					t.Errorf("the daemon's log is %s", r.daemon.String())
				}
			}
			if left := strings.Contains(r.ledger(), r.home); left != c.left {
				t.Errorf("the ledger is %s", r.ledger())
			}
		})
	}
}

func TestAPanicInTheCleanUpIsTheBuildersFailure(t *testing.T) {
	r := newRig(t)
	r.hooks["stop"] = func(context.Context) error { panic("never mind") }
	if o := r.run(); o.Status != "BUILDERFAIL" || o.Stage != "cleanup" || o.Cause != "internal error: never mind" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestProcessesThatSurviveAFinishedBuildAreNamed(t *testing.T) {
	r := newRig(t)
	r.kill = func(context.Context) error { return errors.New("1 processes cannot be killed: 7 (cat, state D)") }
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	r.expectLog("1 processes cannot be killed: 7 (cat, state D)\n")
}

// TestFastCleanup: the build directory is left for the reset of the machine,
// or for the next build.
func TestFastCleanup(t *testing.T) {
	r := newRig(t)
	r.request.Args["fast_cleanup"] = true
	undone := filepath.Join(t.TempDir(), "schroot-file")
	r.stub.build = func(_ context.Context, env builders.Env) error {
		return errors.Join(env.Undo(undone), os.WriteFile(undone, nil, 0o600))
	}
	if o := r.run(); o.Status != "OK" || !o.LeftForReset {
		t.Errorf("the outcome is %+v", o)
	}
	if calls := r.calls(); calls != "create start kill kill" {
		t.Errorf("the target was asked to %s", calls)
	}
	if !strings.HasSuffix(r.steps(), "scan-for-processes") {
		t.Errorf("the steps are %s", r.steps())
	}
	if _, err := os.Lstat(undone); !errors.Is(err, os.ErrNotExist) || !strings.Contains(r.ledger(), r.home) {
		t.Errorf("%v; the ledger is %s", err, r.ledger())
	}
	left := filepath.Join(r.home, "left")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.request.BuildID = "B-2"
	delete(r.request.Args, "fast_cleanup")
	r.stub.build = func(context.Context, builders.Env) error { return nil }
	if o := r.run(); o.Status != "OK" || o.LeftForReset || r.ledger() != "none" {
		t.Errorf("the next build: %+v, the ledger is %s", o, r.ledger())
	}
	if _, err := os.Lstat(r.home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the build directory is still there: %v", err)
	}
}

func TestABuildDirectoryInTheWayIsMovedAway(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(filepath.Join(r.home, "from", "before"), 0o700); err != nil {
		t.Fatal(err)
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	if _, err := os.Lstat(filepath.Join(r.home, "from")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if moved, err := os.ReadDir(r.dir.State().Trash()); err != nil || len(moved) != 1 {
		t.Errorf("the trash has %v, %v", moved, err)
	}
}

// remote is a target on another machine.
type remote struct{ hooked }

func (remote) elsewhere() bool { return true }

// TestFastCleanupOfAnotherMachine: it is not reset with this one.
func TestFastCleanupOfAnotherMachine(t *testing.T) {
	r := newRig(t)
	r.request.Args["fast_cleanup"] = true
	r.machine.newTarget = func(place) (target, error) { return remote{hooked{r.target, r}}, nil }
	if o := r.run(); o.Status != "OK" || o.LeftForReset || r.ledger() != "none" || !strings.HasSuffix(r.calls(), "stop remove") {
		t.Errorf("%+v, the target was asked to %s, the ledger is %s", o, r.calls(), r.ledger())
	}
}
