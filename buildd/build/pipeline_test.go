package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// TestAWholeBuild shows what the log, the target and the daemon see of a build
// with every stage.
func TestAWholeBuild(t *testing.T) {
	r := newRig(t)
	input := r.store("a file that was there")
	schroot := filepath.Join(t.TempDir(), "build-B-1")
	r.stub = stub{
		build: func(_ context.Context, env builders.Env) error {
			env.SetExtra("revision_id", "r1")
			env.AnnounceRun("/share/bin/stub-package", "B-1", "it's")
			_, err := io.WriteString(env.Log, "the package says something")
			return errors.Join(err, env.Undo(schroot), os.WriteFile(schroot, nil, 0o600))
		},
		gather: func(add func(string, io.ReadCloser) error) error {
			return errors.Join(
				add("hello.deb", io.NopCloser(strings.NewReader("a result"))),
				add("old.deb", io.NopCloser(strings.NewReader("a file that was there"))),
			)
		},
	}
	r.request.Settings.Site.AptProxy = "http://proxy.test:3142"
	r.request.Args["builder_constraints"] = []any{"gpu", "big mem"}
	o := r.run()
	result := r.store("a result")
	if o.Status != "OK" || o.BuildID != "B-1" || o.Stage != "" || o.Cause != "" || o.Extra["revision_id"] != "r1" {
		t.Errorf("the outcome is %+v", o)
	}
	if len(o.FileMap) != 2 || o.FileMap["hello.deb"] != result || o.FileMap["old.deb"] != input {
		t.Errorf("the filemap is %v", o.FileMap)
	}
	if !slices.Equal(o.Added, []string{result}) {
		t.Errorf("added %v: clean would not delete %s alone", o.Added, result)
	}
	const in = "RUN: /share/bin/in-target "
	const common = " --backend=chroot --series=noble --arch=amd64 --abi-tag=amd64 --isa-tag=amd64 --constraint=gpu '--constraint=big mem' B-1"
	lines := []string{
		"https://x.test/+b/7",
		"RUN: /share/bin/builder-prep ",
		"Kernel version: ",
		"Buildd toolchain package versions:.",
		in + "unpack-chroot" + common + " --image-type chroot /cache/image",
		"Creating target for build B-1",
		in + "mount-chroot" + common,
		"Starting target for build B-1",
		in + "override-sources-list" + common + " --apt-proxy-url http://proxy.test:3142 'deb http://a.test/x noble main'",
		"Overriding sources.list in build-B-1",
		in + "add-trusted-keys" + common,
		"Adding trusted keys to build-B-1",
		"Key fingerprint = 5F07",
		in + "update-debian-chroot" + common,
		"Updating target for build B-1",
		`RUN: /share/bin/stub-package B-1 'it'"'"'s'`,
		"the package says something",
		in + "scan-for-processes" + common,
		"Scanning for processes to kill in build B-1",
		in + "umount-chroot" + common,
		"Stopping target for build B-1",
		in + "remove-build" + common,
		"Removing build B-1",
		"",
		"Build summary",
		"  Build:      B-1 (stub)",
		"  Result:     OK",
		"  Time:       ",
	}
	got := strings.Split(strings.TrimSuffix(r.log(), "\n"), "\n")
	for i := range max(len(got), len(lines)) {
		if i >= len(got) || i >= len(lines) || !strings.HasPrefix(got[i], lines[i]) {
			t.Fatalf("line %d of the log is not as wanted:\n%s\nwanted are lines that begin with\n%s", i+1, r.log(), strings.Join(lines, "\n"))
		}
	}
	// Once before gathering.
	if calls := r.calls(); calls != "create start kill kill stop remove" {
		t.Errorf("the target was asked to %s", calls)
	}
	if want := []string{"prep", "unpack", "start", "sources", "keys", "update", "build", "gather"}; !slices.Equal(r.stages, want) {
		t.Errorf("the daemon was told of the stages %v", r.stages)
	}
	if _, err := os.Lstat(schroot); !errors.Is(err, os.ErrNotExist) || r.ledger() != "none" {
		t.Errorf("left behind: %s, %v", r.ledger(), err)
	}
	if link, err := os.Readlink(filepath.Join(r.home, "hello.dsc")); err != nil || filepath.Base(link) != "source" {
		t.Errorf("the input file is %s, %v", link, err)
	}
}

func TestStagesThatAreNotWantedAreLeftOut(t *testing.T) {
	r := newRig(t)
	for _, key := range []string{"archives", "trusted_keys", "build_url"} {
		delete(r.request.Args, key)
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	if want := "builder-prep unpack-chroot mount-chroot update-debian-chroot scan-for-processes umount-chroot remove-build"; r.steps() != want {
		t.Errorf("the steps are %s", r.steps())
	}
}

// ending is what a build with a failing stage looks like.
type ending struct {
	stage   Stage
	failure verdict.Outcome // of an error that nobody has explained
	limited verdict.Outcome // when a limit ends it
	// before are the steps up to the failing stage, reaped says that processes
	// can be left after it, calls are those of the target without killing.
	before string
	reaped bool
	calls  string
}

// endings has every stage.
func endings() []ending {
	const (
		prep    = "builder-prep"
		unpack  = prep + " unpack-chroot"
		mount   = unpack + " mount-chroot"
		sources = mount + " override-sources-list"
		keys    = sources + " add-trusted-keys"
		update  = keys + " update-debian-chroot"
	)
	return []ending{
		{"prep", "BUILDERFAIL", "BUILDERFAIL", prep, false, "remove"},
		{"unpack", "CHROOTFAIL", "CHROOTFAIL", unpack, false, "remove"},
		{"start", "CHROOTFAIL", "CHROOTFAIL", mount, false, "create stop remove"},
		{"sources", "CHROOTFAIL", "CHROOTFAIL", sources, true, "create start stop remove"},
		{"keys", "CHROOTFAIL", "CHROOTFAIL", keys, true, "create start stop remove"},
		{"update", "CHROOTFAIL", "CHROOTFAIL", update, true, "create start stop remove"},
		{"build", "BUILDERFAIL", "PACKAGEFAIL", update, true, "create start stop remove"},
		{"gather", "PACKAGEFAIL", "PACKAGEFAIL", update, true, "create start stop remove"},
	}
}

func TestEveryStageIsTested(t *testing.T) {
	var names []Stage
	for _, s := range stages() {
		names = append(names, s.name)
	}
	var tested []Stage
	for _, e := range endings() {
		tested = append(tested, e.stage)
	}
	if !slices.Equal(names, tested) {
		t.Errorf("the stages are %v, the tests know %v", names, tested)
	}
}

// TestHowEachStageFails runs a build for every stage and every way to fail.
func TestHowEachStageFails(t *testing.T) {
	fail := func(err error) func(context.Context, *build) error {
		return func(context.Context, *build) error { return err }
	}
	for _, way := range []struct {
		name  string
		run   func(context.Context, *build) error
		want  func(ending) verdict.Outcome
		cause string
		log   string
	}{
		{
			"unexplained", fail(errors.New("no such thing")),
			func(e ending) verdict.Outcome { return e.failure }, "no such thing", "",
		},
		{
			"a command fails", fail(&backends.ExitError{Argv: []string{"cmd", "arg"}, Code: 137}),
			func(e ending) verdict.Outcome { return e.failure }, "cmd arg: exit code 137", "",
		},
		{
			"with a verdict", fail(&verdict.BuildError{Outcome: verdict.DepFail, Dependencies: "libx", Err: errors.New("no libx"), Advice: "Wait."}),
			func(ending) verdict.Outcome { return verdict.DepFail }, "no libx", "  Wait for:   libx\n  What to do: Wait.\n",
		},
		{
			"by the host's fault", fail(&verdict.BuildError{
				Outcome: verdict.ChrootFail,
				Err:     &verdict.HostFault{Err: errors.New("the disk is full"), Advice: "Free disk space."},
			}),
			func(ending) verdict.Outcome { return verdict.BuilderFail }, "the disk is full", "  What to do: Free disk space.\n",
		},
		{
			"with a panic", func(context.Context, *build) error { panic("never mind") },
			func(ending) verdict.Outcome { return verdict.BuilderFail }, "internal error: never mind", "pipeline.go",
		},
	} {
		for _, e := range endings() {
			t.Run(way.name+"/"+string(e.stage), func(t *testing.T) {
				r := newRig(t)
				r.replace(e.stage, way.run)
				o := r.run()
				if o.Status != way.want(e) || o.Stage != string(e.stage) || o.Cause != way.cause {
					t.Errorf("the outcome is %+v", o)
				}
				r.expectLog("\nBuild summary\n", "  Result:     "+string(o.Status)+"\n", "  Stage:      "+string(e.stage)+"\n",
					"  Cause:      "+way.cause, "  What to do: ", way.log)
				steps := e.before
				if e.reaped {
					steps += " scan-for-processes"
				}
				if strings.Contains(e.calls, "stop") {
					steps += " umount-chroot"
				}
				if got := r.steps(); got != steps+" remove-build" {
					t.Errorf("the steps are %s", got)
				}
				if calls := strings.Replace(r.calls(), "kill ", "", 1); calls != e.calls {
					t.Errorf("the target was asked to %s, want %s", r.calls(), e.calls)
				}
				if r.ledger() != "none" {
					t.Errorf("left in the ledger: %s", r.ledger())
				}
			})
		}
	}
}

// untilCancelled is a stage that runs until something ends it.
func untilCancelled(ctx context.Context, _ *build) error {
	<-ctx.Done()
	return &backends.ExitError{Argv: []string{"killed"}, Code: 137}
}

func TestAbortInEachStage(t *testing.T) {
	for _, e := range endings() {
		t.Run(string(e.stage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.replace(e.stage, untilCancelled)
				time.AfterFunc(time.Hour, func() { r.abort(errAborted) })
				began := time.Now()
				o := r.run()
				if shown := time.Since(began) - time.Hour; shown < abortShown {
					t.Errorf("nobody sees an abort of %s", shown)
				}
				if o.Status != "ABORTED" || o.Stage != string(e.stage) || o.Cause != errAborted.Error() {
					t.Errorf("the outcome is %+v", o)
				}
				steps := e.before + " scan-for-processes"
				if strings.Contains(e.calls, "stop") {
					steps += " umount-chroot"
				}
				if got := r.steps(); got != steps+" remove-build" {
					t.Errorf("the steps are %s", got)
				}
				again := strings.Contains(r.log(), "Already reaped from state "+e.stage.wire()+"...\n")
				if again != e.reaped {
					t.Errorf("the log says %v that it was reaped already:\n%s", again, r.log())
				}
				if calls := strings.Replace(r.calls(), "kill ", "", 1); calls != e.calls {
					t.Errorf("the target was asked to %s", r.calls())
				}
			})
		})
	}
}

func TestAnAbortReplacesASuccess(t *testing.T) {
	for _, name := range []Stage{StageBuild, StageGather} {
		r := newRig(t)
		r.replace(name, func(context.Context, *build) error {
			r.abort(errAborted)
			return nil
		})
		if o := r.run(); o.Status != "ABORTED" || o.Stage != string(name) {
			t.Errorf("%s: the outcome is %+v", name, o)
		}
	}
}

func TestAnAbortBeforeTheFirstStage(t *testing.T) {
	r := newRig(t)
	r.abort(errAborted)
	o := r.run()
	if o.Status != "ABORTED" || len(r.stages) > 0 {
		t.Errorf("the outcome is %+v, the stages were %v", o, r.stages)
	}
	r.expectLog("  Result:     ABORTED\n", "RUN: /share/bin/in-target remove-build ")
}

// TestAnAbortDuringCleanUp: nothing is killed any more, but what the manager
// asked for counts, unless the builder has failed.
func TestAnAbortDuringCleanUp(t *testing.T) {
	for _, c := range []struct {
		name      string
		buildErr  error
		removeErr error
		want      string
	}{
		{"of a good build", nil, nil, "ABORTED"},
		{"of a failed build", &verdict.BuildError{Outcome: verdict.PackageFail}, nil, "ABORTED"},
		{"that fails", nil, errors.New("busy"), "BUILDERFAIL"},
		{"of a build that failed the builder", &verdict.BuildError{Outcome: verdict.BuilderFail}, nil, "BUILDERFAIL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.stub.build = func(context.Context, builders.Env) error { return c.buildErr }
			r.hooks["stop"] = func(ctx context.Context) error {
				r.abort(errAborted)
				return ctx.Err()
			}
			r.hooks["remove"] = func(ctx context.Context) error { return errors.Join(ctx.Err(), c.removeErr) }
			if o := r.run(); string(o.Status) != c.want {
				t.Errorf("the outcome is %+v", o)
			}
			r.expectLog("  Result:     " + c.want + "\n")
			if n := strings.Count(r.steps(), "scan-for-processes"); n != 1 {
				t.Errorf("processes were killed %d times", n)
			}
		})
	}
}

// TestUnkillable: after the time limit the stage is abandoned, and the build
// ends as the builder's failure while the stage may go on.
func TestUnkillable(t *testing.T) {
	for _, way := range []struct {
		name string
		kill func(context.Context) error
		log  string
	}{
		{"a process that does not die", func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("1 processes cannot be killed: 7 (cat, state D)")
		}, "1 processes cannot be killed: 7 (cat, state D)\n"},
		{"a stage that does not end", nil, " does not end although its processes did\n"},
	} {
		for _, e := range endings() {
			t.Run(way.name+"/"+string(e.stage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.kill = way.kill
					release := make(chan struct{})
					r.replace(e.stage, func(_ context.Context, b *build) error {
						<-release
						// What an abandoned stage still does must disturb nobody.
						b.books.setExtra("late", true)
						return b.books.ledger.Add(ledger.Entry{Kind: ledger.Directory, Name: "/nowhere"})
					})
					start := time.Now()
					time.AfterFunc(time.Minute, func() { r.abort(errAborted) })
					o := r.run()
					close(release)
					if o.Status != "BUILDERFAIL" || o.Stage != string(e.stage) || o.Cause != errUnkillable.Error() {
						t.Errorf("the outcome is %+v", o)
					}
					if took := time.Since(start); took != time.Minute+r.request.Settings.AbortLimit {
						t.Errorf("it took %v", took)
					}
					r.expectLog("ABORTING: Failed to kill all processes.\n", way.log)
					calls := strings.Replace(r.calls(), "kill ", "", 1)
					inHand := e.stage == StageUnpack || e.stage == StageStart
					if inHand && strings.Contains(calls, "remove") || !inHand && calls != e.calls {
						t.Errorf("the target was asked to %s", r.calls())
					}
					if inHand == (r.ledger() == "none") {
						t.Errorf("the ledger is %s", r.ledger())
					}
				})
			})
		}
	}
}

// TestAProcessThatOutlivesItsStage is one that nobody waits for.
func TestAProcessThatOutlivesItsStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.replace("build", untilCancelled)
		r.kill = func(ctx context.Context) error {
			<-ctx.Done()
			return errors.New("1 processes cannot be killed")
		}
		time.AfterFunc(time.Hour, func() { r.abort(errAborted) })
		if o := r.run(); o.Status != "BUILDERFAIL" || o.Stage != "build" {
			t.Errorf("the outcome is %+v", o)
		}
	})
}

func TestLimitsEndEachStage(t *testing.T) {
	for _, limit := range []struct {
		name, cause string
		set         func(*job.Settings)
	}{
		{"wall", "the build was ended: it ran for 1h0m0s (limit [limits] wall)", func(s *job.Settings) { s.WallLimit = time.Hour }},
		{"silence", "the build was ended: it said nothing for 10m0s (limit [limits] silence)", func(s *job.Settings) { s.SilenceLimit = 10 * time.Minute }},
	} {
		for _, e := range endings() {
			t.Run(limit.name+"/"+string(e.stage), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t)
					r.replace(e.stage, untilCancelled)
					limit.set(&r.request.Settings)
					o := r.run()
					if o.Status != e.limited || o.Stage != string(e.stage) || o.Cause != limit.cause {
						t.Errorf("the outcome is %+v", o)
					}
					if !strings.HasSuffix(r.steps(), "remove-build") || r.ledger() != "none" {
						t.Errorf("the steps are %s, the ledger is %s", r.steps(), r.ledger())
					}
				})
			})
		}
	}
}

func TestALogThatGrowsTooLargeEndsTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.request.Settings.LogLimit = 10_000
		r.stub.build = func(ctx context.Context, env builders.Env) error {
			for ctx.Err() == nil {
				if _, err := io.WriteString(env.Log, "again and again and again\n"); err != nil {
					return err
				}
				time.Sleep(time.Millisecond) //nolint:forbidigo // of the bubble's clock
			}
			return context.Cause(ctx)
		}
		o := r.run()
		if o.Status != "PACKAGEFAIL" || o.Cause != "the build was ended: its log grew beyond 10000 bytes (limit [limits] log)" {
			t.Errorf("the outcome is %+v", o)
		}
		r.expectLog("  Result:     PACKAGEFAIL\n")
		if n := len(r.log()); n > 12_000 {
			t.Errorf("the log has %d bytes", n)
		}
	})
}

func TestAFailedGatherKeepsWhatItHas(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status verdict.Outcome
	}{
		{"the package's fault", errors.New("no such file"), "PACKAGEFAIL"},
		{"a full disk", &os.PathError{Op: "read", Path: "x", Err: syscall.ENOSPC}, "BUILDERFAIL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.stub.gather = func(add func(string, io.ReadCloser) error) error {
				if err := add("one.deb", io.NopCloser(strings.NewReader("one"))); err != nil {
					return err
				}
				return add("two.deb", io.NopCloser(io.MultiReader(strings.NewReader("tw"), broken{c.err})))
			}
			o := r.run()
			if o.Status != c.status || o.Stage != "gather" || len(o.FileMap) != 1 || o.FileMap["one.deb"] != r.store("one") {
				t.Errorf("the outcome is %+v", o)
			}
			r.expectLog("Failed to gather results: cannot store two.deb: ")
		})
	}
}

// broken is a file that cannot be read.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestOnlyAnInputThatIsThereCanBeBroken(t *testing.T) {
	for want, there := range map[string]bool{"PACKAGEFAIL": true, "BUILDERFAIL": false} {
		t.Run(want, func(t *testing.T) {
			r := newRig(t)
			r.stub.build = func(context.Context, builders.Env) error {
				if !there {
					if err := os.Remove(filepath.Join(r.request.Settings.FileCache, "source")); err != nil {
						t.Error(err)
					}
				}
				return &verdict.BuildError{Outcome: verdict.PackageFail, Err: errors.New("no such file hello.dsc")}
			}
			o := r.run()
			if string(o.Status) != want || o.Stage != "build" || strings.Contains(o.Cause, "the input file hello.dsc has vanished") == there {
				t.Errorf("the outcome is %+v", o)
			}
		})
	}
}

func TestOnlyAnImageThatIsThereCanBeBroken(t *testing.T) {
	for want, there := range map[string]bool{"CHROOTFAIL": true, "BUILDERFAIL": false} {
		t.Run(want, func(t *testing.T) {
			r := newRig(t)
			r.target.Fail("create", errors.New("cannot unpack it"))
			if there {
				if err := os.WriteFile(filepath.Join(r.request.Settings.FileCache, r.request.Image), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if o := r.run(); string(o.Status) != want || o.Stage != "unpack" || strings.Contains(o.Cause, "has vanished") == there {
				t.Errorf("the outcome is %+v", o)
			}
		})
	}
}
