package build

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// keepable is a target that can be kept.
type keepable struct {
	hooked
	unwanted []string
	// left is why it cannot be kept; during is called while it is.
	left   error
	during func(path string)
}

func (k *keepable) keep(_ context.Context, path string, secrets []string, r *kept.Record) error {
	k.unwanted = secrets
	if k.during != nil {
		k.during(path)
	}
	r.Base = "base"
	return errors.Join(k.left, os.Rename(k.r.home, filepath.Join(kept.Target(path), "build")))
}

func (k *keepable) release() error { return nil }

// keeps makes failed builds be kept for an hour.
func (r *rig) keeps() *keepable {
	k := &keepable{hooked: hooked{r.target, r}}
	r.request.Settings.Keep.For = time.Hour
	r.machine.newTarget = func(place) (target, error) { return k, nil }
	r.stub.build = func(context.Context, builders.Env) error { return &verdict.BuildError{Outcome: verdict.PackageFail} }
	return k
}

func (r *rig) state() state.Folder  { return r.dir.State() }
func (r *rig) records() kept.Builds { return kept.In(r.state()) }

// kept is what is kept.
func (r *rig) kept() []kept.Record {
	r.Helper()
	all, err := r.records().List()
	if err != nil {
		r.Fatal(err)
	}
	return all
}

func (r *rig) keptLog() string {
	data, _ := os.ReadFile(filepath.Join(r.records().Dir(), "kept.log")) // missing if nothing ever was
	return string(data)
}

func TestWhatIsKeptOfABuild(t *testing.T) {
	fails := func(o verdict.Outcome) func(*rig) {
		return func(r *rig) {
			r.stub.build = func(context.Context, builders.Env) error {
				return &verdict.BuildError{Outcome: o, Err: errors.New("a riddle")}
			}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*rig)
		status verdict.Outcome
		want   bool
	}{
		{"the package failed", fails(verdict.PackageFail), "PACKAGEFAIL", true},
		{"the image failed", fails(verdict.ChrootFail), "CHROOTFAIL", true},
		{"the builder failed", fails(verdict.BuilderFail), "BUILDERFAIL", true},
		{"it was given back", fails(verdict.GivenBack), "GIVENBACK", true},
		{"it waits for a dependency", fails(verdict.DepFail), "DEPFAIL", false},
		{"a good build", func(r *rig) { r.stub = stub{} }, "OK", false},
		{"the operator does not want it", func(r *rig) { r.request.Settings.Keep.For = 0 }, "PACKAGEFAIL", false},
		{"the machine is reset anyway", func(r *rig) { r.request.Args["fast_cleanup"] = true }, "PACKAGEFAIL", false},
		{"the target never started", func(r *rig) { r.target.Fail("start", errors.New("no")) }, "CHROOTFAIL", false},
		{"something cannot be killed", func(r *rig) { r.kill = func(context.Context) error { return errors.New("7 (cat, state D)") } }, "PACKAGEFAIL", false},
		{"it was aborted", func(r *rig) {
			r.stub.build = func(context.Context, builders.Env) error { r.abort(errAborted); return errors.New("killed") }
		}, "ABORTED", false},
		{"it was aborted after it had failed", func(r *rig) {
			r.hooks["stop"] = func(ctx context.Context) error { r.abort(errAborted); return ctx.Err() }
		}, "ABORTED", false},
		{"the disk is short", func(r *rig) { r.request.Settings.Keep.MinFree = 1 << 60 }, "PACKAGEFAIL", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.keeps()
			c.change(r)
			if o := r.run(); o.Status != c.status {
				t.Errorf("the outcome is %+v", o)
			}
			all := r.kept()
			if (len(all) == 1) != c.want {
				t.Fatalf("kept is %+v; the log:\n%s", all, r.log())
			}
			if kept := strings.Contains(r.log(), "Kept:"); kept != c.want {
				t.Errorf("the log speaks of it: %v", kept)
			}
			if c.want {
				checkKept(t, r, all[0])
			}
			if left := r.ledger(); left != "none" && r.request.Args["fast_cleanup"] == nil {
				t.Errorf("the ledger is %s", left)
			}
		})
	}
}

func checkKept(t *testing.T, r *rig, got kept.Record) {
	t.Helper()
	if got.BuildID != "B-1" || got.Tag != "stub" || got.Series != "noble" || got.Base != "base" || got.Stage != "build" || got.Expires.Sub(got.Failed).Round(time.Minute) != time.Hour {
		t.Errorf("the record is %+v", got)
	}
	if _, err := os.Lstat(filepath.Join(kept.Target(r.records().Path(got.ID)), "build")); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(r.home); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the build directory is still there: %v", err)
	}
	if calls := r.calls(); calls != "create start kill stop remove" {
		t.Errorf("the target was asked to %s", calls)
	}
	r.expectLog("lpbuildd enter B-1\n", "Keeping the target of build B-1 until ")
	for _, log := range []string{r.daemon.String(), r.keptLog()} {
		if !strings.Contains(log, "Failed build kept") || !strings.Contains(log, got.ID) {
			t.Errorf("a log is %s", log)
		}
	}
}

// TestFilesWithSecretsAreNotKept: whoever writes one says so before.
func TestFilesWithSecretsAreNotKept(t *testing.T) {
	r := newRig(t)
	k := r.keeps()
	r.request.Settings.Site.AptProxy = "http://user:secret@proxy.test/"
	r.request.Args["archives"] = []any{"deb https://u:hidden@private.test/x noble main"}
	r.stub.build = func(_ context.Context, env builders.Env) error {
		env.HasSecrets("/of/the/type")
		return errors.New("no")
	}
	r.run()
	want := "/etc/apt/apt.conf.d/99proxy /etc/apt/apt.conf.d/98lpbuildd-archives /etc/apt/auth.conf.d/lpbuildd.conf /etc/apt/lpbuildd-auth.conf /of/the/type"
	if got := strings.Join(k.unwanted, " "); got != want {
		t.Errorf("to be deleted: %s", got)
	}
	for _, e := range r.kept() {
		if data, err := json.Marshal(e); err != nil || strings.Contains(string(data), "hidden") {
			t.Errorf("%v: %s", err, data)
		}
	}
}

func TestATargetThatCannotBeKeptGoes(t *testing.T) {
	r := newRig(t)
	r.keeps().left = errors.New("it is stuck")
	if o := r.run(); o.Status != "PACKAGEFAIL" || len(r.kept()) != 0 || r.ledger() != "none" {
		t.Errorf("%+v, kept is %v, the ledger %s", o, r.kept(), r.ledger())
	}
	r.expectLog("Cannot keep the target for a look: it is stuck\n")
	if entries, err := os.ReadDir(r.records().Dir()); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// TestADeathWhileATargetIsKept: what is half done is in the ledger, and counts
// for nothing.
func TestADeathWhileATargetIsKept(t *testing.T) {
	r := newRig(t)
	var ledger, half string
	r.keeps().during = func(path string) {
		ledger, half = r.ledger(), path
		if len(r.kept()) != 0 {
			t.Errorf("kept is %v", r.kept())
		}
		if err := exec.CommandContext(t.Context(), "cp", "-a", r.state().Path(), r.state().Path()+".then").Run(); err != nil {
			t.Fatal(err)
		}
	}
	r.run()
	if !strings.Contains(ledger, half) || !strings.Contains(ledger, r.home) {
		t.Errorf("the ledger was %s", ledger)
	}
	if err := errors.Join(os.RemoveAll(r.state().Path()), os.Rename(r.state().Path()+".then", r.state().Path())); err != nil {
		t.Fatal(err)
	}
	c := &leftovers.Cleaner{Dir: r.dir, Log: slog.New(slog.DiscardHandler), Report: func(err error) { t.Error(err) }}
	if err := c.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(r.records().Dir()); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestTheOldestGoesFirst(t *testing.T) {
	r := newRig(t)
	r.keeps()
	r.request.Settings.Keep.Builds = 2
	for _, id := range []string{"B-1", "B-2", "B-3"} {
		r.request.BuildID = id
		r.home = filepath.Join(r.request.Settings.Home, "build-"+id)
		r.run()
	}
	all := r.kept()
	if len(all) != 2 || all[0].BuildID != "B-2" || all[1].BuildID != "B-3" {
		t.Errorf("kept is %+v", all)
	}
	if !strings.Contains(r.keptLog(), `msg="Kept build removed" build_id=B-1`) || !strings.Contains(r.keptLog(), "the build B-3 takes its place") {
		t.Errorf("the log is %s", r.keptLog())
	}
}

// TestNobodyIsThrownOutForANewerOne: only the end of the time, or a full disk,
// does that.
func TestNobodyIsThrownOutForANewerOne(t *testing.T) {
	r := newRig(t)
	r.keeps()
	r.run()
	first := r.kept()[0]
	lock, err := r.records().Lock(first.ID)
	if err == nil {
		err = lock.Enter(kept.Visitor{By: "visitor", Since: time.Now()})
	}
	if err != nil {
		t.Fatal(err)
	}
	r.request.BuildID = "B-2"
	r.home = filepath.Join(r.request.Settings.Home, "build-B-2")
	r.run()
	if all := r.kept(); len(all) != 1 || all[0].ID != first.ID {
		t.Errorf("kept is %+v", all)
	}
	r.expectLog("Cannot keep the target for a look: somebody is in each of those that are kept already\n")
	if err := lock.Unlock(); err != nil {
		t.Error(err)
	}
}
