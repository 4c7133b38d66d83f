package buildd_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
	"lpbuildd/filecache"
	"lpbuildd/ordered"
)

// patience is how long anything may take that must happen at all.
const patience = 5 * time.Minute

// rig is a daemon with scripted supervisors, and what its tests need.
type rig struct {
	*buildd.Daemon
	t      *testing.T
	config buildd.Config
	image  string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := filecache.Open(t.TempDir(), filecache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	// A program with the race detector sleeps for a second when it ends.
	role := func(name string) []string {
		return []string{"env", "GORACE=atexit_sleep_ms=0", roleVariable + "=" + name, self}
	}
	r := &rig{t: t, config: buildd.Config{
		Arch: "amd64", Version: "1.2",
		Types: []buildd.Type{
			{Tag: "binarypackage", NoProxyInfo: true, Check: func(args map[string]any, _ []string) error {
				if args["script"] == nil {
					return errors.New("script is required")
				}
				return nil
			}},
			{Tag: "snap", Sanitize: true, Check: func(map[string]any, []string) error { return nil }},
			{Tag: "ci", Extra: map[string]any{"jobs": "none"}, Check: func(map[string]any, []string) error { return nil }},
		},
		Settings: job.Settings{AbortLimit: patience},
		Cache:    cache,
		Launcher: buildd.Launcher{Supervise: role("supervise"), Cleanup: role("cleanup"), Trash: []string{"true"}},
		Log:      slog.New(slog.DiscardHandler),
		// Limits of tests are for hangs; those that are about a limit set it.
		RecoverWait: patience, ReadyWait: patience, BuildWait: patience,
	}}
	r.image = r.store("a base image")
	r.start()
	t.Cleanup(func() { r.Close() })
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.Daemon, err = buildd.New(r.t.Context(), r.config); err != nil {
		r.t.Fatal(err)
	}
}

// restart stands for a daemon that was killed: nothing is said to anyone.
func (r *rig) restart() {
	r.t.Helper()
	r.Close()
	r.start()
}

func (r *rig) store(content string) string {
	r.t.Helper()
	s, err := r.config.Cache.Store(r.t.Context(), strings.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	return s.SHA1
}

func (r *rig) build(script string, args ...any) {
	r.t.Helper()
	all := map[string]any{"script": script}
	for i := 0; i < len(args); i += 2 {
		all[args[i].(string)] = args[i+1]
	}
	if err := r.Build(r.t.Context(), buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: all}); err != nil {
		r.t.Fatal(err)
	}
}

// await polls until something is as a test wants it.
func (r *rig) await(what string, ok func(buildd.Status) bool) buildd.Status {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
		s := r.Status()
		if ok(s) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s: %+v", what, s)
		}
	}
}

// awaitEnd polls until the build is over.
func (r *rig) awaitEnd() buildd.Status {
	r.t.Helper()
	return r.await("end of the build", func(s buildd.Status) bool { return s.State == buildd.Waiting })
}

// awaitSupervisor polls until a supervisor can be killed, which the real one can
// long before any time limit.
func (r *rig) awaitSupervisor() {
	r.t.Helper()
	r.await("supervisor", func(buildd.Status) bool {
		_, err := os.Lstat(state.Folder(r.config.Cache.StateDir()).Build().Supervisor())
		return err == nil
	})
}

func (r *rig) has(sum string) bool {
	ok, err := r.config.Cache.Present(r.t.Context(), sum)
	return ok && err == nil
}

func TestABuildFromRequestToClean(t *testing.T) {
	r := newRig(t)
	if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" || s.Version != "1.2" {
		t.Fatalf("at the start: %+v", s)
	}
	result := r.store("a result")
	r.build("succeed", "result", result)
	s := r.awaitEnd()
	if s.BuildID != "B-1" || s.Outcome != "OK" || s.FileMap["result"] != result || s.LogTail != nil {
		t.Errorf("waiting: %+v", s)
	}
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.Status(); s.State != buildd.Idle || s.BuildID != "" || s.FileMap != nil {
		t.Errorf("after clean: %+v", s)
	}
	if r.has(result) || !r.has(r.image) {
		t.Error("clean must delete the results and nothing else")
	}
	if _, err := os.Stat(filepath.Join(r.config.Cache.Dir(), "buildlog")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log after clean: %v", err)
	}
}

func TestCleanKeepsWhatWasThereBefore(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
	// A result that vanished must not keep the builder from being cleaned.
	if err := r.config.Cache.Remove(r.image); err != nil {
		t.Fatal(err)
	}
	if err := r.Clean(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPrivateInputsGoWithTheirBuild(t *testing.T) {
	for _, c := range []struct {
		name    string
		private any
		end     func(*rig)
		stays   bool
	}{
		{"public, cleaned", false, (*rig).finish, true},
		{"private, cleaned", true, (*rig).finish, false},
		{"private by a number, cleaned", int64(1), (*rig).finish, false},
		{"private, lost in a crash", true, (*rig).lose, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			source := r.store("a source")
			err := r.Build(t.Context(), buildd.Request{
				BuildID: "B-1", Tag: "binarypackage", Image: r.image,
				Files: ordered.Map[string]{{Name: "a.dsc", Value: source}, {Name: "the image, too", Value: r.image}},
				Args:  map[string]any{"script": "wait", "archive_private": c.private},
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
	}
}

// TestPrivateInputsThatCannotBeDeletedGoLater: another build in between does not
// make the builder forget them, unless it uses them itself.
func TestPrivateInputsThatCannotBeDeletedGoLater(t *testing.T) {
	r := newRig(t)
	secret, shared := r.store("a private source"), r.store("one that is public later")
	build := func(private bool, files map[string]string) {
		t.Helper()
		err := r.Build(t.Context(), buildd.Request{
			BuildID: "B-1", Tag: "binarypackage", Image: r.image, Files: ordered.Sorted(files),
			Args: map[string]any{"script": "wait", "archive_private": private},
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
}

// finish ends a build that waits, and cleans the builder.
func (r *rig) finish() {
	r.t.Helper()
	if err := r.Abort(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.awaitEnd()
	if err := r.Clean(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// lose kills a build that waits while no daemon runs, and starts one.
func (r *rig) lose() {
	r.t.Helper()
	r.awaitSupervisor()
	r.Close()
	var pid int
	if err := disk.ReadJSON(state.Build(r.inState("build")).Supervisor(), &pid); err != nil {
		r.t.Fatal(err)
	}
	for syscall.Kill(pid, syscall.SIGKILL) == nil {
		<-time.After(time.Millisecond)
	}
	r.start()
	r.await("idle builder", func(s buildd.Status) bool { return s.State == buildd.Idle })
}

func TestAbortDecidesTheOutcome(t *testing.T) {
	for script, want := range map[string]verdict.Outcome{
		"wait": "ABORTED", "succeed when aborted": "ABORTED", "fail when aborted": "BUILDERFAIL",
	} {
		t.Run(script, func(t *testing.T) {
			r := newRig(t)
			r.build(script)
			for range 2 {
				if err := r.Abort(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if s := r.awaitEnd(); s.Outcome != want {
				t.Errorf("ended as %s, want %s", s.Outcome, want)
			}
		})
	}
}

func TestAStuckAbortEndsAsTheBuildersFailure(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.Settings.AbortLimit = 50 * time.Millisecond
	r.start()
	r.build("ignore")
	r.awaitSupervisor()
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" {
		t.Errorf("ended as %s", s.Outcome)
	}
}

func TestASupervisorThatDiesIsReported(t *testing.T) {
	for script, cause := range map[string]string{
		"die":            "the supervisor of the build ended before it began to work; usual reasons",
		"die in a stage": "the supervisor of the build died\n",
	} {
		t.Run(script, func(t *testing.T) {
			r := newRig(t)
			r.build(script)
			s := r.awaitEnd()
			if s.Outcome != "BUILDERFAIL" || s.BuildID != "B-1" || (s.Extra["revision_id"] == "r1") != (script == "die in a stage") {
				t.Errorf("waiting: %+v", s)
			}
			if left := leftovers(t, r.config.Cache.StateDir()); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			log, err := os.ReadFile(filepath.Join(r.config.Cache.Dir(), "buildlog"))
			if err != nil || !strings.Contains(string(log), cause) || !strings.Contains(string(log), "What to do:") {
				t.Errorf("the log is %q, %v", log, err)
			}
		})
	}
}

// TestASlowStartIsNoDeath: until the supervisor of a build is known, that of the
// build before is, which is dead.
func TestASlowStartIsNoDeath(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.RetryDelay = 5 * time.Millisecond
	slow := []string{"sh", "-c", `sleep 0.5; exec "$0" "$@"`}
	r.config.Launcher.Supervise = append(slow, r.config.Launcher.Supervise...)
	r.start()
	last, before := state.Build(r.inState("build")).Supervisor(), time.Now().Add(-time.Hour)
	r.write(last, `{"pid":1073741824,"start":"1","boot":"another"}`)
	if err := os.Chtimes(last, before, before); err != nil {
		t.Fatal(err)
	}
	r.build("succeed")
	if s := r.awaitEnd(); s.Outcome != "OK" {
		t.Errorf("it ended as %+v", s)
	}
}

func TestABuildGoesOnThroughARestart(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	r.restart()
	if s := r.Status(); s.State != buildd.Building || s.BuildID != "B-1" {
		t.Fatalf("after the restart: %+v", s)
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if s := r.awaitEnd(); s.Outcome != "ABORTED" {
		t.Errorf("waiting: %+v", s)
	}
}

func TestWaitingSurvivesARestart(t *testing.T) {
	r := newRig(t)
	result := r.store("a result")
	r.build("succeed", "result", result)
	before := r.awaitEnd()
	r.restart()
	after := r.Status()
	if after.State != buildd.Waiting || after.BuildID != before.BuildID || after.FileMap["result"] != result {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
}

func TestABuildThatDiedWithTheDaemonIsForgotten(t *testing.T) {
	r := newRig(t)
	r.Close()
	dir := filepath.Join(r.config.Cache.StateDir(), "build")
	for _, name := range []string{"ledger", "left-behind"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	journal := map[string]any{"state": "BUILDING", "build_id": "B-1", "tag": "binarypackage"}
	if err := disk.WriteJSON(filepath.Join(r.config.Cache.StateDir(), "journal.json"), journal); err != nil {
		t.Fatal(err)
	}
	r.start()
	if s := r.Status(); s.State != buildd.Idle {
		t.Errorf("after the restart: %+v", s)
	}
	if left := leftovers(t, r.config.Cache.StateDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInfoListsTheTypesInOrder(t *testing.T) {
	r := newRig(t)
	if info := r.Info(); info.Arch != "amd64" || !slices.Equal(info.Tags, []string{"binarypackage", "snap", "ci"}) {
		t.Errorf("%+v", info)
	}
}

func TestSettingsChangeForTheNextBuildOnly(t *testing.T) {
	r := newRig(t)
	r.build("wait")
	r.SetSettings(job.Settings{AbortLimit: time.Nanosecond})
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.awaitEnd(); s.Outcome != "ABORTED" {
		t.Errorf("the build that ran has the outcome %s", s.Outcome)
	}
	if err := r.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.build("ignore")
	r.awaitSupervisor()
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" {
		t.Errorf("the next build has the outcome %s", s.Outcome)
	}
}

func TestTheExtraStatusOfATypeIsAlwaysThere(t *testing.T) {
	r := newRig(t)
	for _, script := range []string{"extra", "die"} {
		request := buildd.Request{BuildID: "C-1", Tag: "ci", Image: r.image, Args: map[string]any{"script": script}}
		if err := r.Build(t.Context(), request); err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Extra["jobs"] != "none" {
			t.Errorf("%s: at the start: %v", script, s.Extra)
		}
		if script == "extra" {
			r.await("more of it", func(s buildd.Status) bool { return s.Extra["revision_id"] == "r1" && s.Extra["jobs"] == "none" })
			if err := r.Abort(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if s := r.awaitEnd(); s.Extra["jobs"] != "none" {
			t.Errorf("%s: waiting: %v", script, s.Extra)
		}
		if err := r.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := r.Status(); s.Extra != nil {
			t.Errorf("%s: idle: %v", script, s.Extra)
		}
	}
}
