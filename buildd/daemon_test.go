package buildd_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
	"lpbuildd/ordered"
)

func TestABuildFromRequestToClean(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" || s.Version != "1.2" {
			t.Fatalf("at the start: %+v", s)
		}
		result := r.store("a result")
		r.build("succeed", adds(result))
		s := r.is(buildd.Waiting)
		if s.BuildID != "B-1" || s.Outcome != "OK" || s.FileMap["result"] != result || s.LogTail != nil {
			t.Errorf("waiting: %+v", s)
		}
		r.clean()
		if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" || s.FileMap != nil {
			t.Errorf("after clean: %+v", s)
		}
		if r.has(result) || !r.has(r.image) {
			t.Error("clean must delete the results and nothing else")
		}
		if _, err := os.Stat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the log after clean: %v", err)
		}
		if j, err := os.ReadFile(r.inState("journal.json")); err != nil || string(j) != `{"state":"IDLE","proxy_info":{"UseFetchService":null,"RevocationEndpoint":null}}` {
			t.Errorf("the journal after clean: %s, %v", j, err)
		}
	})
}

func TestCleanKeepsWhatWasThereBefore(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		r.abort()
		r.is(buildd.Waiting)
		// A result that vanished must not keep the builder from being cleaned.
		if err := r.config.Cache.Remove(r.image); err != nil {
			t.Fatal(err)
		}
		if err := r.Clean(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestPrivateInputsGoWithTheirBuild(t *testing.T) {
	for _, c := range []struct {
		name    string
		private bool
		end     func(*rig)
		stays   bool
	}{
		{"public, cleaned", false, (*rig).finish, true},
		{"private, cleaned", true, (*rig).finish, false},
		{"private, lost in a crash", true, (*rig).lose, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				source := r.store("a source")
				err := r.Build(t.Context(), buildd.Request{
					BuildID: "B-1", Tag: "binarypackage", Image: r.image,
					Files: ordered.Map[string]{{Name: "a.dsc", Value: source}, {Name: "the image, too", Value: r.image}},
					Args:  map[string]any{"script": "wait"}, Private: c.private,
				})
				if err != nil {
					t.Fatal(err)
				}
				c.end(r)
				if s := r.Status(); s.State != buildd.Idle {
					t.Fatalf("after the build: %+v", s)
				}
				if r.has(source) != c.stays {
					t.Errorf("the source is in the cache: %v", r.has(source))
				}
				if !r.has(r.image) {
					t.Error("the base image is gone")
				}
			})
		})
	}
}

// TestPrivateInputsThatCannotBeDeletedGoLater: another build in between does not
// make the builder forget them, unless it uses them itself.
func TestPrivateInputsThatCannotBeDeletedGoLater(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		secret, shared := r.store("a private source"), r.store("one that is public later")
		build := func(private bool, files map[string]string) {
			t.Helper()
			err := r.Build(t.Context(), buildd.Request{
				BuildID: "B-1", Tag: "binarypackage", Image: r.image, Files: ordered.Sorted(files),
				Args: map[string]any{"script": "wait"}, Private: private,
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		build(true, map[string]string{"a.dsc": secret, "b.tar.gz": shared})
		paths := []string{filepath.Join(r.config.Cache.Dir(), secret), filepath.Join(r.config.Cache.Dir(), shared)}
		for _, path := range paths { // a folder in its place cannot be deleted
			if err := errors.Join(os.Rename(path, path+".kept"), os.MkdirAll(filepath.Join(path, "full"), 0o700)); err != nil {
				t.Fatal(err)
			}
		}
		r.finish()
		for _, path := range paths {
			if err := errors.Join(os.RemoveAll(path), os.Rename(path+".kept", path)); err != nil {
				t.Fatal(err)
			}
		}
		build(false, map[string]string{"b.tar.gz": shared})
		if !r.has(secret) {
			t.Fatal("the private source was deleted; this test tests nothing")
		}
		r.finish()
		if r.has(secret) || !r.has(shared) {
			t.Errorf("the private source is in the cache: %v; the public one: %v", r.has(secret), r.has(shared))
		}
	})
}

func TestAbortDecidesTheOutcome(t *testing.T) {
	for script, want := range map[string]verdict.Outcome{
		"wait": "ABORTED", "succeed when aborted": "ABORTED", "fail when aborted": "BUILDERFAIL",
	} {
		t.Run(script, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.build(script)
				r.abort()
				if s := r.is(buildd.Waiting); s.Outcome != want {
					t.Errorf("ended as %s, want %s", s.Outcome, want)
				}
			})
		})
	}
}

func TestAStuckAbortEndsAsTheBuildersFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("ignore")
		r.abort()
		limit := r.config.Settings.AbortLimit + r.config.AbortGrace
		r.pass(limit - time.Second)
		r.is(buildd.Aborting)
		r.pass(time.Second)
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" || !strings.Contains(r.buildLog(), "the aborted build did not end in time\n") {
			t.Errorf("ended as %s, its log:\n%s", s.Outcome, r.buildLog())
		}
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// TestAnAbortThatIsLateHasAnOutcomeAllTheSame: its supervisor has written it, and does
// not end.
func TestAnAbortThatIsLateHasAnOutcomeAllTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("ignore")
		r.abort()
		if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
			t.Fatal(err)
		}
		r.pass(r.config.Settings.AbortLimit + r.config.AbortGrace)
		if s := r.is(buildd.Waiting); s.Outcome != "ABORTED" {
			t.Errorf("ended as %s", s.Outcome)
		}
	})
}

// TestAnAbortIsRepeatedAfterAReconnect: the connection may have broken before it got
// through.
func TestAnAbortIsRepeatedAfterAReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("ignore")
		supervisor := r.root.last()
		supervisor.cut()
		synctest.Wait()
		if n := supervisor.abortsHeard(); n != 0 {
			t.Fatalf("a build that nobody aborts was told to %d times", n)
		}
		r.abort()
		if n := supervisor.abortsHeard(); n != 1 {
			t.Errorf("after abort() it was told %d times", n)
		}
		r.abort()
		supervisor.cut()
		synctest.Wait()
		if n := supervisor.abortsHeard(); n != 2 {
			t.Errorf("after a reconnect it was told %d times", n)
		}
		r.restart()
		if n := supervisor.abortsHeard(); n != 3 {
			t.Errorf("after a restart it was told %d times", n)
		}
		r.is(buildd.Aborting)
	})
}

func TestASupervisorThatDiesIsReported(t *testing.T) {
	for script, cause := range map[string]string{
		"die":            "the supervisor of the build ended before it began to work; usual reasons",
		"die in a stage": "the supervisor of the build died\n",
	} {
		t.Run(script, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.build(script)
				s := r.is(buildd.Waiting)
				if s.Outcome != "BUILDERFAIL" || s.BuildID != "B-1" || (s.Extra["revision_id"] == "r1") != (script == "die in a stage") {
					t.Errorf("waiting: %+v", s)
				}
				if left := r.leftovers(); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
				if log := r.buildLog(); !strings.Contains(log, cause) || !strings.Contains(log, "What to do:") {
					t.Errorf("the log is %q", log)
				}
			})
		})
	}
}

// TestASlowStartIsNoDeath: until the supervisor of a build is known, that of the
// build before is, which is dead.
func TestASlowStartIsNoDeath(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.slow = time.Minute
		last, before := r.inState("build", "supervisor.json"), time.Now().Add(-time.Hour)
		r.write(last, `{"pid":1073741824,"start":"1","boot":"another"}`)
		if err := os.Chtimes(last, before, before); err != nil {
			t.Fatal(err)
		}
		r.build("succeed")
		r.pass(59 * time.Second)
		r.is(buildd.Building)
		r.pass(time.Second)
		if s := r.is(buildd.Waiting); s.Outcome != "OK" {
			t.Errorf("it ended as %+v", s)
		}
	})
}

func TestABuildGoesOnThroughARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		r.restart()
		if s := r.Status(); s.State != buildd.Building || s.BuildID != "B-1" {
			t.Fatalf("after the restart: %+v", s)
		}
		r.abort()
		r.restart()
		if s := r.is(buildd.Waiting); s.Outcome != "ABORTED" {
			t.Errorf("waiting: %+v", s)
		}
	})
}

func TestWaitingSurvivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.build("succeed", adds(result))
		before := r.is(buildd.Waiting)
		r.restart()
		after := r.Status()
		if after.State != buildd.Waiting || after.BuildID != before.BuildID || after.FileMap["result"] != result {
			t.Errorf("before %+v\nafter %+v", before, after)
		}
	})
}

func TestABuildThatDiedWithTheDaemonIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Close()
		for _, name := range []string{"ledger", "left-behind"} {
			r.write(r.inState("build", name), "")
		}
		r.journal(map[string]any{"state": "BUILDING", "build_id": "B-1", "tag": "binarypackage"})
		r.start()
		r.is(buildd.Idle)
		if left := r.leftovers(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

func TestInfoListsTheTypesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		if info := r.Info(); info.Arch != "amd64" || !slices.Equal(info.Tags, []string{"binarypackage", "snap", "ci"}) {
			t.Errorf("%+v", info)
		}
	})
}

func TestSettingsChangeForTheNextBuildOnly(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		r.SetSettings(job.Settings{AbortLimit: time.Nanosecond})
		r.abort()
		if s := r.is(buildd.Waiting); s.Outcome != "ABORTED" {
			t.Errorf("the build that ran has the outcome %s", s.Outcome)
		}
		r.clean()
		r.build("ignore")
		r.abort()
		r.pass(r.config.AbortGrace + time.Nanosecond)
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("the next build has the outcome %s", s.Outcome)
		}
	})
}

func TestTheExtraStatusOfATypeIsAlwaysThere(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, script := range []string{"extra", "die"} {
			request := buildd.Request{BuildID: "C-1", Tag: "ci", Image: r.image, Args: map[string]any{"script": script}}
			if err := r.Build(t.Context(), request); err != nil {
				t.Fatal(err)
			}
			if s := r.Status(); s.Extra["jobs"] != "none" {
				t.Errorf("%s: at the start: %v", script, s.Extra)
			}
			if script == "extra" {
				synctest.Wait()
				if s := r.Status(); s.Extra["revision_id"] != "r1" || s.Extra["jobs"] != "none" {
					t.Errorf("later: %v", s.Extra)
				}
				r.abort()
			}
			synctest.Wait()
			if s := r.is(buildd.Waiting); s.Extra["jobs"] != "none" {
				t.Errorf("%s: waiting: %v", script, s.Extra)
			}
			r.clean()
			if s := r.Status(); s.Extra != nil {
				t.Errorf("%s: idle: %v", script, s.Extra)
			}
		}
	})
}
