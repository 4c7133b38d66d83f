package buildd_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// damages are what can become of a file of the builder's, by a bad disk, a
// crash or a person. Each leaves something that cannot be read.
func damages() map[string]func(path string, was []byte) error {
	text := func(text string) func(string, []byte) error {
		return func(path string, _ []byte) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	with := func(change func([]byte) []byte) func(string, []byte) error {
		return func(path string, was []byte) error { return os.WriteFile(path, change(was), 0o600) }
	}
	instead := func(make func(path string) error) func(string, []byte) error {
		return func(path string, _ []byte) error { return errors.Join(os.Remove(path), make(path)) }
	}
	return map[string]func(string, []byte) error{
		"an empty file":                    text(""),
		"a blank line":                     text("\n"),
		"a zero":                           text("\x00"),
		"a block of zeros":                 text(strings.Repeat("\x00", 4096)),
		"zeros in place of all":            with(func(b []byte) []byte { return make([]byte, len(b)) }),
		"zeros in place of the beginning":  with(func(b []byte) []byte { return append(make([]byte, 10), b[10:]...) }),
		"zeros in place of the end":        with(func(b []byte) []byte { return append(b[:len(b)/2], make([]byte, len(b)/2)...) }),
		"zeros after the end":              with(func(b []byte) []byte { return append(b, 0, 0, 0) }),
		"the first half":                   with(func(b []byte) []byte { return b[:len(b)/2] }),
		"the second half":                  with(func(b []byte) []byte { return b[len(b)/2:] }),
		"all but the last byte":            with(func(b []byte) []byte { return b[:len(b)-1] }),
		"all but the first byte":           with(func(b []byte) []byte { return b[1:] }),
		"twice the same":                   with(func(b []byte) []byte { return append(b, b...) }),
		"something more":                   with(func(b []byte) []byte { return append(b, "garbage"...) }),
		"flipped bits":                     with(func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`":`), []byte(`#:`)) }),
		"all bits flipped":                 with(func(b []byte) []byte { return bytes.Map(func(r rune) rune { return r ^ 0x7f }, b) }),
		"not UTF-8":                        text("\xff\xfe\xfd"),
		"a binary":                         text("\x7fELF\x02\x01\x01\x00\x00"),
		"an opening brace":                 text("{"),
		"null":                             text("null"),
		"a number":                         text("7"),
		"a string":                         text(`"BUILDING"`),
		"a list":                           text(`[{"state":"IDLE"}]`),
		"an empty object":                  text("{}"),
		"a very deep one":                  text(strings.Repeat(`{"a":`, 20000)),
		"wrong types":                      text(`{"state":7,"build_id":["B-1"],"status":{}}`),
		"an unknown word":                  text(`{"state":"DREAMING","build_id":"B-1","status":"DREAMING"}`),
		"names that lead elsewhere":        text(`{"state":"IDLE","garbage":["../../etc/passwd"],"build_id":"B-1","status":"OK","added":["../../etc/passwd"]}`),
		"a build without a name":           text(`{"state":"BUILDING","status":"OK"}`),
		"a build with a path for its name": text(`{"state":"BUILDING","build_id":"../../etc","status":"?"}`),
		"a folder":                         instead(func(path string) error { return os.Mkdir(path, 0o700) }),
		"a folder with something in it":    instead(func(path string) error { return os.MkdirAll(filepath.Join(path, "a", "b"), 0o700) }),
		"a pipe":                           instead(func(path string) error { return syscall.Mkfifo(path, 0o600) }),
		"a link to itself":                 instead(func(path string) error { return os.Symlink(filepath.Base(path), path) }),
		"a link to a device":               instead(func(path string) error { return os.Symlink("/dev/zero", path) }),
		"a file without end":               instead(func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) }),
	}
}

// damage does that to a file of a closed daemon's.
func (r *rig) damage(path string, how func(string, []byte) error) {
	r.t.Helper()
	was, err := os.ReadFile(path)
	if err == nil {
		err = how(path, was)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// setAside lists what was set aside in the state folder.
func (r *rig) setAside() []string {
	r.t.Helper()
	var all []string
	for _, pattern := range []string{r.inState("*.damaged*"), r.inState("build", "*.damaged*")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// startsTwice starts the builder, which must be in this state, and again, which
// must find nothing to set aside any more.
func (r *rig) startsTwice(state buildd.State) buildd.Status {
	r.t.Helper()
	r.start()
	s := r.is(state)
	aside := r.setAside()
	if len(aside) == 0 {
		r.t.Error("nothing was set aside")
	}
	r.restart()
	if again := r.Status(); again.State != s.State || again.BuildID != s.BuildID || again.Outcome != s.Outcome {
		r.t.Errorf("after another start %+v, before %+v", again, s)
	}
	if more := r.setAside(); !slices.Equal(more, aside) {
		r.t.Errorf("set aside are %v, before %v", more, aside)
	}
	return s
}

// works checks that the builder goes on, from where it stands.
func (r *rig) works() {
	r.t.Helper()
	if r.Status().State == buildd.Waiting {
		if err := r.Clean(r.t.Context()); err != nil {
			r.t.Fatal(err)
		}
	}
	r.build("succeed")
	if s := r.is(buildd.Waiting); s.Outcome != "OK" {
		r.t.Errorf("the next build: %+v", s)
	}
}

func TestAFinishedBuildOutlivesItsJournal(t *testing.T) {
	for name, how := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, r *rig) {
				result := r.store("a result")
				r.build("succeed", adds(result))
				before := r.is(buildd.Waiting)
				r.Close()
				r.damage(r.inState("journal.json"), how)
				s := r.startsTwice(buildd.Waiting)
				if s.BuildID != "B-1" || s.Outcome != "OK" || !maps.Equal(s.FileMap, before.FileMap) || !r.has(result) {
					t.Errorf("it presents %+v", s)
				}
				r.works()
				if r.has(result) {
					t.Error("clean() has not removed the result")
				}
			})
		})
	}
}

func TestAnIdleBuilderOutlivesItsJournal(t *testing.T) {
	for name, how := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, r *rig) {
				r.build("succeed")
				r.is(buildd.Waiting)
				r.clean()
				r.Close()
				// The outcome of that build is still there.
				r.damage(r.inState("journal.json"), how)
				r.startsTwice(buildd.Idle)
				r.works()
			})
		})
	}
}

func TestABuildThatRunsOutlivesTheJournal(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed when told")
		r.Close()
		r.damage(r.inState("journal.json"), damages()["a block of zeros"])
		if s := r.startsTwice(buildd.Building); s.BuildID != "B-1" {
			t.Errorf("it follows %+v", s)
		}
		r.root.last().goOn()
		synctest.Wait()
		if s := r.is(buildd.Waiting); s.Outcome != "OK" {
			t.Errorf("it ended as %+v", s)
		}
	})
}

func TestABuildThatDiedWithTheJournalIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("die in a stage")
		r.is(buildd.Waiting)
		r.Close()
		if err := errors.Join(os.RemoveAll(r.inState("build", "outcome.json")), os.WriteFile(r.inState("journal.json"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		r.startsTwice(buildd.Idle)
		r.works()
	})
}

// TestABuildWithoutAnyRecordIsKnownByItsOutcome: the journal is damaged, and what
// was written when the build was accepted.
func TestABuildWithoutAnyRecordIsKnownByItsOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("succeed")
		r.is(buildd.Waiting)
		r.Close()
		r.damage(r.inState("journal.json"), damages()["an empty file"])
		r.damage(r.inState("build", "accepted.json"), damages()["an empty file"])
		if s := r.startsTwice(buildd.Waiting); s.BuildID != "B-1" || s.Outcome != "OK" {
			t.Errorf("it presents %+v", s)
		}
		r.works()
	})
}

// TestAnOutcomeThatCannotBeReadIsTheBuildersFailure, and no reason not to start.
func TestAnOutcomeThatCannotBeReadIsTheBuildersFailure(t *testing.T) {
	for name, how := range damages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, r *rig) {
				r.found(func() {
					if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
						t.Fatal(err)
					}
					r.damage(r.inState("build", "outcome.json"), how)
				})
				s := r.is(buildd.Waiting)
				if s.Outcome != "BUILDERFAIL" || len(r.setAside()) != 1 {
					t.Errorf("after the restart: %+v; set aside: %v", s, r.setAside())
				}
				r.works()
			})
		})
	}
}

// TestOddFilesDoNotKeepABuildFromBeginning: they are in the place of what the
// daemon writes for each build.
func TestOddFilesDoNotKeepABuildFromBeginning(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"limits.json", "accepted.json", "supervisor.json", "outcome.json", "socket", ".tmp-1"} {
			if err := os.MkdirAll(filepath.Join(r.inState("build", name), "full"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		// Whoever opens this one waits for a writer.
		if err := unix.Mkfifo(filepath.Join(r.config.Cache.Dir(), "buildlog"), 0o600); err != nil {
			t.Fatal(err)
		}
		r.works()
	})
}

func TestAFileInPlaceOfTheBuildFolderIsSetAside(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Close()
		if err := os.RemoveAll(r.inState("build")); err != nil {
			t.Fatal(err)
		}
		r.write(r.inState("build"), "")
		r.startsTwice(buildd.Idle)
		r.works()
	})
}

// TestADamagedDrainIsADrain, and can be ended.
func TestADamagedDrainIsADrain(t *testing.T) {
	for name, how := range damages() {
		dir := t.TempDir()
		path := filepath.Join(dir, "drained.json")
		if err := errors.Join(buildd.SetDrain(state.Folder(dir), buildd.Drain{Reason: "a reason for it"}), how(path, []byte(`{"since":"2026-01-01T00:00:00Z"}`))); err != nil {
			t.Fatal(name, err)
		}
		if buildd.ReadDrain(state.Folder(dir)) == nil {
			t.Errorf("%s: the builder is not drained", name)
		}
		if was, err := buildd.Undrain(state.Folder(dir)); !was || err != nil || buildd.ReadDrain(state.Folder(dir)) != nil {
			t.Errorf("%s: %v, %v", name, was, err)
		}
	}
}
