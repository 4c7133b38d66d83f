package buildd_test

import (
	"errors"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// inState is a path in the state folder.
func (r *rig) inState(names ...string) string {
	return filepath.Join(append([]string{r.config.Cache.StateDir()}, names...)...)
}

func (r *rig) write(path, content string) {
	r.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// found has a daemon find a state folder in which a build was running.
func (r *rig) found(prepare func()) {
	r.t.Helper()
	r.Close()
	journal := map[string]any{"state": "BUILDING", "build_id": "B-1", "tag": "binarypackage"}
	if err := disk.WriteJSON(r.inState("journal.json"), journal); err != nil {
		r.t.Fatal(err)
	}
	prepare()
	r.start()
}

func TestAnOutcomeOfAnotherBuildIsNotPresented(t *testing.T) {
	r := newRig(t)
	r.found(func() {
		if err := job.WriteOutcome(state.Build(r.inState("build")), job.Outcome{BuildID: "B-0", Status: "OK"}); err != nil {
			t.Fatal(err)
		}
	})
	if s := r.Status(); s.State != buildd.Idle {
		t.Errorf("after the restart: %+v", s)
	}
	// Nor when the manager gives the same id again.
	if err := job.WriteOutcome(state.Build(r.inState("build")), job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
		t.Fatal(err)
	}
	r.build("die")
	if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" {
		t.Errorf("waiting: %+v", s)
	}
}

func TestAnOutcomeWrittenWhileNobodyWatchedIsPresented(t *testing.T) {
	r := newRig(t)
	r.found(func() {
		if err := job.WriteOutcome(state.Build(r.inState("build")), job.Outcome{BuildID: "B-1", Status: "DEPFAIL", Dependencies: "libx"}); err != nil {
			t.Fatal(err)
		}
	})
	if s := r.Status(); s.State != buildd.Waiting || s.Outcome != "DEPFAIL" || s.Dependencies != "libx" {
		t.Errorf("after the restart: %+v", s)
	}
}

func TestACrashBeforeTheRequestWasHandedOverForgetsTheBuild(t *testing.T) {
	r := newRig(t)
	r.config.ReadyWait = time.Second
	r.found(func() {
		if err := startScripted(t, r.inState("build")); err != nil {
			t.Fatal(err)
		}
	})
	if s := r.Status(); s.State != buildd.Building {
		t.Fatalf("after the restart: %+v", s)
	}
	r.await("idle builder", func(s buildd.Status) bool { return s.State == buildd.Idle })
}

// TestADeadSupervisorsSocketIsNotWaitedFor: a sudo that was stopped holds it for
// ever, and whoever connects hears nothing.
func TestADeadSupervisorsSocketIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	r.config.RetryDelay = 5 * time.Millisecond
	r.found(func() {
		t.Chdir(r.inState("build"))
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: state.SocketName, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		r.write(state.Build(r.inState("build")).Supervisor(), `{"pid":1073741824,"start":"1","boot":"another"}`)
	})
	r.await("loss", func(s buildd.Status) bool { return s.State == buildd.Idle })
	r.works()
}

func TestACrashAfterAnAbortAbortsAgain(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	r.Close()
	journal := map[string]any{"state": "ABORTING", "build_id": "B-1", "tag": "binarypackage"}
	if err := disk.WriteJSON(r.inState("journal.json"), journal); err != nil {
		t.Fatal(err)
	}
	r.start()
	if s := r.awaitEnd(); s.Outcome != "ABORTED" {
		t.Errorf("waiting: %+v", s)
	}
}

func TestTheExtraStatusOutlivesADaemon(t *testing.T) {
	r := newRig(t)
	r.build("extra")
	has := func(s buildd.Status) bool { return s.Extra["revision_id"] == "r1" }
	r.await("extra status", has)
	r.restart()
	r.await("extra status after the restart", has)
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
}

// TestAJournalThatCannotBeWrittenIsWrittenLater: a folder is in its place.
func TestAJournalThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.RetryDelay = 10 * time.Millisecond
	r.start()
	result := r.store("a result")
	r.build("succeed when told")
	if err := errors.Join(os.Remove(r.inState("journal.json")), os.MkdirAll(r.inState("journal.json", "folder"), 0o700)); err != nil {
		t.Fatal(err)
	}
	r.write(r.inState("build", "go"), "")
	r.await("outcome", func(buildd.Status) bool {
		_, err := job.ReadOutcome(state.Build(r.inState("build")))
		return err == nil
	})
	for range 5 {
		if s := r.Status(); s.State != buildd.Building {
			t.Fatalf("it was told before it was written down: %+v", s)
		}
		<-time.After(5 * time.Millisecond)
	}
	if err := os.RemoveAll(r.inState("journal.json")); err != nil {
		t.Fatal(err)
	}
	if s := r.awaitEnd(); s.Outcome != "OK" || !r.has(result) {
		t.Errorf("waiting: %+v", s)
	}
}

// TestALossThatCannotBeWrittenIsWrittenLater: when the clean-up is over, a folder
// is in the place of the journal.
func TestALossThatCannotBeWrittenIsWrittenLater(t *testing.T) {
	for name, lose := range map[string]func(*rig){
		"a build that died with the daemon": func(r *rig) {
			r.found(func() { r.write(state.Build(r.inState("build")).Ledger(), "") })
		},
		"a build that cannot be started": func(r *rig) {
			r.start()
			r.write(state.Build(r.inState("build")).Ledger(), "")
			request := buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "wait"}}
			if err := r.Build(t.Context(), request); err == nil {
				t.Error("it was started")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Close()
			r.config.RetryDelay = 10 * time.Millisecond
			r.config.Launcher.Supervise = []string{"/nonexistent/sudo"}
			r.config.Launcher.Cleanup = []string{"sh", "-c", "rm ledger ../journal.json && mkdir -p ../journal.json/folder"}
			lose(r)
			if s := r.Status(); s.State != buildd.Building {
				t.Errorf("it was told before it was written down: %+v", s)
			}
			if err := os.RemoveAll(r.inState("journal.json")); err != nil {
				t.Fatal(err)
			}
			r.await("idle builder", func(s buildd.Status) bool { return s.State == buildd.Idle })
		})
	}
}

func TestASupervisorThatCannotBeStarted(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.Launcher.Supervise = []string{"/nonexistent/sudo"}
	r.start()
	err := r.Build(t.Context(), buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "wait"}})
	var fault *buildd.Fault
	if !errors.As(err, &fault) || !strings.Contains(fault.Reason, "cannot start the supervisor") {
		t.Errorf("got %v", err)
	}
	if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" {
		t.Errorf("now %+v", s)
	}
	if _, err := os.Lstat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log: %v", err)
	}
}

func TestASupervisorThatRefusesIsTheBuildersFailure(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.Launcher.Supervise = []string{"false"}
	r.start()
	err := r.Build(t.Context(), buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "wait"}})
	if err != nil {
		// It was gone before the request could be handed over.
		var fault *buildd.Fault
		if s := r.Status(); !errors.As(err, &fault) || s.State != buildd.Idle {
			t.Errorf("%v, now %+v", err, s)
		}
		return
	}
	if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" {
		t.Errorf("waiting: %+v", s)
	}
}

func TestARequestThatCannotBeHandedOverStartsNothing(t *testing.T) {
	r := newRig(t)
	err := r.Build(t.Context(), buildd.Request{
		BuildID: "B-1", Tag: "binarypackage", Image: r.image,
		Args: map[string]any{"script": "wait", "number": math.Inf(1)},
	})
	var fault *buildd.Fault
	if s := r.Status(); !errors.As(err, &fault) || s.State != buildd.Idle {
		t.Errorf("%v, now %+v", err, s)
	}
	r.build("wait")
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
}

func TestTheStartDeletesWhatOthersLeft(t *testing.T) {
	r := newRig(t)
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
}

// TestAStartDoesNotWaitForASlowCleanUp: until it is over, the answers are those of
// the journal.
func TestAStartDoesNotWaitForASlowCleanUp(t *testing.T) {
	r := newRig(t)
	r.config.RecoverWait = time.Millisecond
	finish := r.slowCleanup()
	r.found(func() { r.write(state.Build(r.inState("build")).Ledger(), "") })
	r.await("clean-up", func(buildd.Status) bool { return r.cleansUp() })
	if s := r.Status(); s.State != buildd.Building || s.BuildID != "B-1" {
		t.Errorf("during the clean-up: %+v", s)
	}
	finish()
	r.await("idle builder", func(s buildd.Status) bool { return s.State == buildd.Idle })
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
			r := newRig(t)
			result := r.store("a result")
			r.build("succeed", "result", result, "fast_cleanup", c.reset)
			r.awaitEnd()
			r.Close()
			if c.boots {
				r.boots()
			}
			r.start()
			if s := r.Status(); s.State != c.state || (s.BuildID == "") != (c.state == buildd.Idle) {
				t.Errorf("now %+v", s)
			}
			if r.has(result) != (c.state == buildd.Waiting) {
				t.Errorf("the result is in the cache: %v", r.has(result))
			}
		})
	}
}

// TestAResetInABuildForgetsItsResults: the daemon did not come to write them down.
func TestAResetInABuildForgetsItsResults(t *testing.T) {
	r := newRig(t)
	result := r.store("a result")
	r.build("succeed when told", "result", result, "fast_cleanup", true)
	r.awaitSupervisor()
	r.Close()
	o := job.Outcome{BuildID: "B-1", Status: "OK", FileMap: map[string]string{"result": result}, Added: []string{result}}
	if err := job.WriteOutcome(state.Build(r.inState("build")), o); err != nil {
		t.Fatal(err)
	}
	r.boots()
	r.start()
	if s := r.Status(); s.State != buildd.Idle || r.has(result) {
		t.Errorf("now %+v, the result is in the cache: %v", s, r.has(result))
	}
}

// boots makes the state of a closed daemon that of another start of the machine.
func (r *rig) boots() {
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
	r := newRig(t)
	result := r.store("a result")
	r.Close()
	r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "a log")
	journal := map[string]any{"state": "IDLE", "garbage": []string{result}}
	if err := disk.WriteJSON(r.inState("journal.json"), journal); err != nil {
		t.Fatal(err)
	}
	r.start()
	if r.has(result) || !r.has(r.image) {
		t.Error("the start must delete the results and nothing else")
	}
	if _, err := os.Lstat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log: %v", err)
	}
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
	r := newRig(t)
	r.config.Launcher.Cleanup = []string{"sh", "-c", "echo a mount is stuck >&2; false"}
	r.found(func() {
		r.write(state.Build(r.inState("build")).Ledger(), "")
		r.write(filepath.Join(r.config.Cache.Dir(), "buildlog"), "a log\n")
	})
	s := r.awaitEnd()
	log, err := os.ReadFile(filepath.Join(r.config.Cache.Dir(), "buildlog"))
	if s.Outcome != "BUILDERFAIL" || err != nil || !strings.Contains(string(log), "a mount is stuck") {
		t.Errorf("after the restart: %+v, the log %s, %v", s, log, err)
	}
}

// TestThereIsRoomForTheEndOfABuild, whatever the build does to the disk.
func TestThereIsRoomForTheEndOfABuild(t *testing.T) {
	r := newRig(t)
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
}

// TestHelpersAreNotToldOfAnEarlierSudo: who started a daemon that is root is
// not who asks for its builds.
func TestHelpersAreNotToldOfAnEarlierSudo(t *testing.T) {
	t.Setenv("SUDO_UID", "12345")
	t.Setenv("KEPT", "yes")
	r := newRig(t)
	r.Close()
	r.config.Launcher.Trash = []string{"sh", "-c", "env >environment"}
	r.start()
	r.EmptyTrash(t.Context())
	env, err := os.ReadFile(r.inState("build", "environment"))
	if err != nil || strings.Contains(string(env), "SUDO_") || !strings.Contains(string(env), "KEPT=yes") {
		t.Errorf("%v: %s", err, env)
	}
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
	sums := map[string]string{}
	r := newRig(t)
	r.Close()
	for path, content := range files {
		sums[path] = r.store(content)
		if err := r.config.Cache.Remove(sums[path]); err != nil {
			t.Fatal(err)
		}
	}
	cache, err := filecache.Open(r.config.Cache.Dir(), filecache.Options{MaxBytes: size + 10})
	if err != nil {
		t.Fatal(err)
	}
	r.config.Cache = cache
	r.start()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		url := server.URL + path
		p, err := r.EnsurePresent(t.Context(), sums[path], buildd.Source{URL: &url})
		if err != nil || !p.Present {
			t.Fatalf("%s: %+v, %v", path, p, err)
		}
	}
	for path, sum := range sums {
		if !r.has(sum) {
			t.Errorf("%s was evicted", path)
		}
	}
	if err := cache.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOneDaemonAtATimeUsesACache(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	if _, err := buildd.New(t.Context(), r.config); err == nil || !strings.Contains(err.Error(), "another lpbuildd uses the file cache "+r.config.Cache.Dir()) {
		t.Errorf("the second daemon: %v", err)
	}
	if s := r.Status(); s.State != buildd.Building {
		t.Errorf("the first daemon is %+v", s)
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
	r.restart()
}
