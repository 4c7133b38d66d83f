package buildd_test

import (
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

func TestAnOutcomeOfAnotherBuildIsNotPresented(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.found(func() {
			if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-0", Status: "OK"}); err != nil {
				t.Fatal(err)
			}
		})
		if s := r.Status(); s.State != buildd.Idle {
			t.Errorf("after the restart: %+v", s)
		}
		// Nor when the manager gives the same id again.
		if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
			t.Fatal(err)
		}
		r.build("die")
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("waiting: %+v", s)
		}
	})
}

func TestAnOutcomeWrittenWhileNobodyWatchedIsPresented(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.found(func() {
			if err := job.WriteOutcome(r.state().Build(), job.Outcome{BuildID: "B-1", Status: "DEPFAIL", Dependencies: "libx"}); err != nil {
				t.Fatal(err)
			}
		})
		if s := r.Status(); s.State != buildd.Waiting || s.Outcome != "DEPFAIL" || s.Dependencies != "libx" {
			t.Errorf("after the restart: %+v", s)
		}
	})
}

func TestACrashBeforeTheRequestWasHandedOverForgetsTheBuild(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.found(func() { r.root.orphan(r.inState("build")) })
		r.pass(1499 * time.Millisecond)
		r.is(buildd.Building)
		r.pass(time.Millisecond)
		r.is(buildd.Idle)
		if n := r.root.last().abortsHeard(); n != 1 {
			t.Errorf("the supervisor was told to go %d times", n)
		}
	})
}

// TestADeadSupervisorsSocketIsNotWaitedFor: a sudo that was stopped holds it for
// ever, and whoever connects hears nothing.
func TestADeadSupervisorsSocketIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.found(func() {
			r.root.slow = 24 * time.Hour
			r.root.orphan(r.inState("build"))
			r.write(r.inState("build", "supervisor.json"), `{"pid":1073741824,"start":"1","boot":"another"}`)
		})
		r.pass(4 * time.Second)
		r.is(buildd.Building)
		r.pass(time.Second)
		r.is(buildd.Idle)
		r.root.slow = 0
		r.works()
	})
}

// TestASupervisorThatSaysNothingIsOnlySlow, as long as it may live.
func TestASupervisorThatSaysNothingIsOnlySlow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.slow = time.Hour
		r.build("succeed")
		r.restart()
		r.pass(time.Hour - time.Second)
		r.is(buildd.Building)
		r.pass(time.Second)
		if s := r.is(buildd.Waiting); s.Outcome != "OK" {
			t.Errorf("it ended as %+v", s)
		}
	})
}

func TestACrashAfterAnAbortAbortsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		r.Close()
		r.journal(map[string]any{"state": "ABORTING", "build_id": "B-1", "tag": "binarypackage"})
		r.start()
		if s := r.is(buildd.Waiting); s.Outcome != "ABORTED" {
			t.Errorf("waiting: %+v", s)
		}
	})
}

func TestTheExtraStatusOutlivesADaemon(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("extra")
		for range 2 {
			if s := r.Status(); s.Extra["revision_id"] != "r1" {
				t.Errorf("it says %+v", s)
			}
			r.restart()
		}
		r.abort()
		r.is(buildd.Waiting)
	})
}

// TestAJournalThatCannotBeWrittenIsWrittenLater: a folder is in its place.
func TestAJournalThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.build("succeed when told", adds(result))
		repair := r.breakJournal()
		r.root.last().goOn()
		synctest.Wait()
		r.pass(12 * time.Second)
		r.is(buildd.Building) // it is told when it is written down
		repair()
		r.pass(2 * time.Second)
		r.is(buildd.Building)
		r.pass(time.Second)
		if s := r.is(buildd.Waiting); s.Outcome != "OK" || !r.has(result) {
			t.Errorf("waiting: %+v", s)
		}
	})
}

// TestALossThatCannotBeWrittenIsWrittenLater: when the clean-up is over, a folder
// is in the place of the journal.
func TestALossThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	for name, lose := range map[string]func(*rig){
		"a build that died with the daemon": func(r *rig) {
			r.found(func() { r.write(r.inState("build", "ledger"), "") })
		},
		"a build that cannot be started": func(r *rig) {
			r.write(r.inState("build", "ledger"), "")
			if err := r.Build(t.Context(), r.request("wait")); err == nil {
				t.Error("it was started")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.root.refuses = errors.New("no sudo")
				var repair func()
				r.root.clean = func(string) error {
					repair = r.breakJournal()
					return os.Remove(r.inState("build", "ledger"))
				}
				lose(r)
				synctest.Wait()
				r.is(buildd.Building) // it is told when it is written down
				repair()
				r.pass(5 * time.Second)
				r.is(buildd.Idle)
			})
		})
	}
}

func TestASupervisorThatCannotBeStarted(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.refuses = errors.New("cannot start the supervisor")
		err := r.Build(t.Context(), r.request("wait"))
		var fault *buildd.Fault
		if !errors.As(err, &fault) || fault.Reason != "build: cannot start the supervisor" {
			t.Errorf("got %v", err)
		}
		if s := r.is(buildd.Idle); s.BuildID != "" {
			t.Errorf("now %+v", s)
		}
		if _, err := os.Lstat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the log: %v", err)
		}
	})
}

// TestASupervisorThatDiesAtOnceIsTheBuildersFailure, as one that sudo refuses. If it
// dies before it has its request, the build does not begin.
func TestASupervisorThatDiesAtOnceIsTheBuildersFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("die")
		if s := r.is(buildd.Waiting); s.Outcome != "BUILDERFAIL" {
			t.Errorf("waiting: %+v", s)
		}
		r.clean()
		r.root.mute = true
		answer := make(chan error, 1)
		go func() { answer <- r.Build(t.Context(), r.request("wait")) }()
		synctest.Wait()
		r.root.last().kill()
		if fault := (*buildd.Fault)(nil); !errors.As(<-answer, &fault) {
			t.Error("a build that nobody works on was accepted")
		}
		r.is(buildd.Idle)
	})
}

func TestARequestThatCannotBeHandedOverStartsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		err := r.Build(t.Context(), r.request("wait", func(r *buildd.Request) { r.Args["number"] = math.Inf(1) }))
		var fault *buildd.Fault
		if s := r.Status(); !errors.As(err, &fault) || s.State != buildd.Idle {
			t.Errorf("%v, now %+v", err, s)
		}
		r.build("wait")
		r.abort()
		r.is(buildd.Waiting)
	})
}

func TestTheStartDeletesWhatOthersLeft(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.Close()
		raw := filepath.Join(r.config.Cache.Dir(), "buildlog.unsanitized")
		half := r.inState(".tmp-123")
		r.write(raw, "http://user:password@host/")
		r.write(half, "{")
		r.start()
		for _, path := range []string{raw, half} {
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
}

// TestAStartDoesNotWaitForASlowCleanUp: until it is over, the answers are those of
// the journal.
func TestAStartDoesNotWaitForASlowCleanUp(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		finish := r.root.hold()
		begun := time.Now()
		r.found(func() { r.write(r.inState("build", "ledger"), "") })
		if took := time.Since(begun); took != time.Second {
			t.Errorf("the start took %s", took)
		}
		if s := r.Status(); s.State != buildd.Building || s.BuildID != "B-1" {
			t.Errorf("during the clean-up: %+v", s)
		}
		finish()
		synctest.Wait()
		r.is(buildd.Idle)
	})
}

// TestAResetMachineIsIdle: a manager that resets the machine after a build does not
// call clean(), and disables a builder that comes up with that build.
func TestAResetMachineIsIdle(t *testing.T) {
	for _, c := range []struct {
		name         string
		reset, boots bool
		state        buildd.State
	}{
		{"a machine that is reset, started anew", true, true, buildd.Idle},
		{"only the daemon started anew", true, false, buildd.Waiting},
		{"a machine that is cleaned, started anew", false, true, buildd.Waiting},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				result := r.store("a result")
				r.build("succeed", adds(result), func(r *buildd.Request) { r.EndsWithReset = c.reset })
				r.is(buildd.Waiting)
				r.Close()
				if c.boots {
					bootAnew(r)
				}
				r.start()
				if s := r.Status(); s.State != c.state || (s.BuildID == "") != (c.state == buildd.Idle) {
					t.Errorf("now %+v", s)
				}
				if r.has(result) != (c.state == buildd.Waiting) {
					t.Errorf("the result is in the cache: %v", r.has(result))
				}
			})
		})
	}
}

// TestAResetInABuildForgetsItsResults: the daemon did not come to write them down.
func TestAResetInABuildForgetsItsResults(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.build("succeed when told", adds(result), func(r *buildd.Request) { r.EndsWithReset = true })
		r.Close()
		o := job.Outcome{BuildID: "B-1", Status: "OK", FileMap: map[string]string{"result": result}, Added: []string{result}}
		if err := job.WriteOutcome(r.state().Build(), o); err != nil {
			t.Fatal(err)
		}
		bootAnew(r)
		r.start()
		if s := r.Status(); s.State != buildd.Idle || r.has(result) {
			t.Errorf("now %+v, the result is in the cache: %v", s, r.has(result))
		}
	})
}

// bootAnew makes the state of a closed daemon that of another start of the machine.
func bootAnew(r *rig) {
	r.t.Helper()
	journal := r.inState("journal.json")
	boot, err := state.BootID()
	data, readErr := os.ReadFile(journal)
	if err != nil || readErr != nil || boot == "" {
		r.t.Fatal(boot, err, readErr)
	}
	r.write(journal, strings.ReplaceAll(string(data), boot, "another boot"))
}

// TestACrashInCleanLeavesNothing: the journal knows what was still to be deleted.
func TestACrashInCleanLeavesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		result := r.store("a result")
		r.Close()
		r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "a log")
		r.journal(map[string]any{"state": "IDLE", "garbage": []string{result}})
		r.start()
		if r.has(result) || !r.has(r.image) {
			t.Error("the start must delete the results and nothing else")
		}
		if _, err := os.Lstat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the log: %v", err)
		}
	})
}

// TestNothingIsEvictedThatALongBuildHasStored: the supervisor stores results, as
// those of CI jobs, long before the daemon knows their names.
func TestNothingIsEvictedThatALongBuildHasStored(t *testing.T) {
	accepted := time.Now().Add(-5 * time.Hour)
	for name, protected := range map[string]bool{"BUILDING": true, "ABORTING": true, "WAITING": false} {
		dir := t.TempDir()
		journal := map[string]any{"state": name, "build_id": "B-1", "tag": "ci", "accepted": accepted, "outcome": job.Outcome{BuildID: "B-1", Status: "OK"}}
		if err := disk.WriteJSON(filepath.Join(dir, "journal.json"), journal); err != nil {
			t.Fatal(err)
		}
		seen, err := buildd.Look(state.Folder(dir))
		if err != nil || seen.InUseSince.Before(accepted) != protected {
			t.Errorf("%s: what was used since %s stays: %v", name, seen.InUseSince, err)
		}
	}
}

// TestABuilderThatCannotCleanUpTakesNoBuilds: IDLE would promise that nothing of
// the lost build is left.
func TestABuilderThatCannotCleanUpTakesNoBuilds(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.root.clean = func(string) error { return errors.New("a mount is stuck") }
		r.found(func() {
			r.write(r.inState("build", "ledger"), "")
			r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "a log\n")
		})
		s := r.is(buildd.Waiting)
		if log := r.buildLog(); s.Outcome != "BUILDERFAIL" || !strings.Contains(log, "the supervisor of the build died; a mount is stuck\n") {
			t.Errorf("after the restart: %+v, the log %s", s, log)
		}
	})
}

// TestThereIsRoomForTheEndOfABuild, whatever the build does to the disk.
func TestThereIsRoomForTheEndOfABuild(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		reserves := []string{r.inState(disk.ReserveName), r.inState("build", disk.ReserveName)}
		expect := func(when string) {
			for _, path := range reserves {
				if info, err := os.Stat(path); err != nil || info.Size() == 0 {
					t.Errorf("%s: %v", when, err)
				}
			}
		}
		expect("at the start")
		// As if the last build had needed it.
		for _, path := range reserves {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		r.build("wait")
		expect("during the next build")
		r.finish()
	})
}

// TestInputsStayUntilTheyAreUsed: between ensurepresent and build nothing else
// speaks for them.
func TestInputsStayUntilTheyAreUsed(t *testing.T) {
	const size = 1000
	files := map[string]string{
		"/a": strings.Repeat("a", size), "/b": strings.Repeat("b", size), "/c": strings.Repeat("c", size),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = w.Write([]byte(files[req.URL.Path]))
	}))
	defer server.Close()
	cache, err := filecache.Open(t.TempDir(), filecache.Options{MaxBytes: size + 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }()
	sums := map[string]string{}
	for path, content := range files {
		s, err := cache.Store(t.Context(), strings.NewReader(content))
		if err := errors.Join(err, cache.Remove(s.SHA1)); err != nil {
			t.Fatal(err)
		}
		sums[path] = s.SHA1
	}
	d, err := buildd.New(t.Context(), buildd.Config{Cache: cache, Launcher: &helpers{t: t}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		url := server.URL + path
		p, err := d.EnsurePresent(t.Context(), sums[path], buildd.Source{URL: &url})
		if err != nil || !p.Present {
			t.Fatalf("%s: %+v, %v", path, p, err)
		}
	}
	for path, sum := range sums {
		if ok, err := cache.Present(t.Context(), sum); !ok || err != nil {
			t.Errorf("%s was evicted: %v", path, err)
		}
	}
}

func TestOneDaemonAtATimeUsesACache(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.build("wait")
		if _, err := buildd.New(t.Context(), r.config); err == nil || !strings.Contains(err.Error(), "another lpbuildd uses the file cache "+r.config.Cache.Dir()) {
			t.Errorf("the second daemon: %v", err)
		}
		if s := r.Status(); s.State != buildd.Building {
			t.Errorf("the first daemon is %+v", s)
		}
		r.abort()
		r.is(buildd.Waiting)
		r.restart()
	})
}
