package buildd_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/state"
)

func (r *rig) drain() {
	r.t.Helper()
	d := buildd.Drain{Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Reason: "new kernel"}
	if err := buildd.SetDrain(state.Folder(r.config.Cache.StateDir()), d); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) undrain(want bool) {
	r.t.Helper()
	if was, err := buildd.Undrain(state.Folder(r.config.Cache.StateDir())); err != nil || was != want {
		r.t.Fatalf("undrain: %v, %v", was, err)
	}
}

// refuses checks that a build is refused, with this reason.
func (r *rig) refuses(why string) {
	r.t.Helper()
	err := r.Build(r.t.Context(), buildd.Request{BuildID: "B-2", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "succeed"}})
	if fault := (*buildd.Fault)(nil); !errors.As(err, &fault) || fault.Reason != "build: "+why {
		r.t.Errorf("build: %v, want %s", err, why)
	}
}

const drainedText = "this builder is drained by its operator since 2026-01-02 03:04 UTC (new kernel); it builds again after 'lpbuildd undrain'"

func TestADrainedBuilderTakesNoBuildUntilItIsUndrained(t *testing.T) {
	r := newRig(t)
	r.drain()
	for range 2 {
		if s := r.Status(); s.State != buildd.Idle || s.Drained != drainedText {
			t.Errorf("drained: %+v", s)
		}
		r.refuses(drainedText)
		r.restart()
	}
	r.undrain(true)
	r.undrain(false)
	if s := r.Status(); s.Drained != "" {
		t.Errorf("undrained: %+v", s)
	}
	r.build("succeed")
	r.awaitEnd()
}

func TestDrainingDisturbsNoBuild(t *testing.T) {
	r := newRig(t)
	result := r.store("a result")
	r.build("succeed when aborted", "result", result)
	r.drain()
	if s := r.Status(); s.State != buildd.Building || s.Drained != "" || s.LogTail == nil {
		t.Errorf("building: %+v", s)
	}
	seen, err := buildd.Look(state.Folder(r.config.Cache.StateDir()))
	if err != nil || seen.State != buildd.Building || seen.BuildID != "B-1" || !slices.Equal(seen.InUse, []string{r.image}) {
		t.Errorf("looks like %+v, %v", seen, err)
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
	r.restart()
	if s := r.Status(); s.State != buildd.Waiting || s.Drained != "" || !r.has(result) {
		t.Errorf("waiting: %+v", s)
	}
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.Drained != drainedText {
		t.Errorf("after clean: %+v", s)
	}
	if seen, err = buildd.Look(state.Folder(r.config.Cache.StateDir())); err != nil || seen.State != buildd.Idle || len(seen.InUse) > 0 {
		t.Errorf("looks like %+v, %v", seen, err)
	}
}

// A manager takes a lost build back, at no cost for the build, from a builder
// that says IDLE, and from no other.
func TestADrainedBuilderTellsOfItsLossBeforeItFallsSilent(t *testing.T) {
	r := newRig(t)
	r.drain()
	r.config.LossTime = 200 * time.Millisecond
	r.found(func() {})
	// The daemon itself may ask as often as it likes.
	for asked := time.Now(); time.Since(asked) < 2*r.config.LossTime; {
		if s := r.Status(); s.State != buildd.Idle || s.Drained != "" {
			t.Fatalf("just after the loss: %+v", s)
		}
	}
	r.refuses(drainedText)
	r.Told(r.Status())
	r.await("drain", func(s buildd.Status) bool { return s.Drained == drainedText })
	// What was told is told once.
	if s := r.Status(); s.Drained == "" {
		t.Errorf("later: %+v", s)
	}
}

func TestADrainThatCannotBeReadIsOne(t *testing.T) {
	r := newRig(t)
	r.write(r.inState("drained.json"), "{")
	if s := r.Status(); !strings.HasPrefix(s.Drained, buildd.DrainedText+";") {
		t.Errorf("got %+v", s)
	}
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
	folder := state.Folder(b.TempDir())
	b.ReportAllocs()
	for b.Loop() {
		if buildd.ReadDrain(folder) != nil {
			b.Fatal("drained")
		}
	}
}
