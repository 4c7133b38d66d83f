package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/disk"
	"lpbuildd/ordered"
)

func TestWhatFailsBeforeTheFirstStageHasALogToo(t *testing.T) {
	for _, c := range []struct {
		name, cause string
		change      func(*rig)
	}{
		{"an unknown type", "unknown build type", func(r *rig) { r.request.Tag = "nosuch" }},
		{"a missing argument", "series is required", func(r *rig) { delete(r.request.Args, "series") }},
		{"a path as file name", "single path component", func(r *rig) { r.request.Files = ordered.Map[string]{{Name: "../evil", Value: r.request.Image}} }},
		{"an unknown user", `cannot use the build user "no such user"`, func(r *rig) { r.request.Settings.User = "no such user" }},
		{"no backend", "there is no backend", func(r *rig) {
			r.machine.newTarget = func(place) (target, error) { return nil, errors.New("there is no backend") }
		}},
		{"a ledger that cannot be undone", "cannot clean up after the last build", func(r *rig) { r.leavesContainer() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			c.change(r)
			o := r.run()
			if o.Status != "BUILDERFAIL" || o.Stage != "request" || !strings.Contains(o.Cause, c.cause) {
				t.Errorf("the outcome is %+v", o)
			}
			r.expectLog("\nBuild summary\n", "  Stage:      request\n", c.cause, "  What to do: ")
			if r.calls() != "" {
				t.Errorf("the target was asked to %s", r.calls())
			}
		})
	}
}

// leavesContainer makes a ledger with what cannot be undone, because nobody knows
// how.
func (r *rig) leavesContainer() {
	r.Helper()
	l, err := ledger.Open(r.dir.Ledger())
	if err := errors.Join(err, l.Add(ledger.Entry{Kind: ledger.Container, Name: "lp-left"}), l.Close()); err != nil {
		r.Fatal(err)
	}
}

func TestWithoutALogThereIsStillAnOutcome(t *testing.T) {
	r := newRig(t)
	if err := os.MkdirAll(filepath.Join(r.request.Settings.FileCache, "buildlog", "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if o := r.run(); o.Status != "BUILDERFAIL" || !strings.Contains(o.Cause, "build log") {
		t.Errorf("the outcome is %+v", o)
	}
}

// TestSecretsReachNoLogAndNoOutcome: not even when they are in an error.
func TestSecretsReachNoLogAndNoOutcome(t *testing.T) {
	const secret, token = `pa55\word`, "0123-very-secret-token"
	r := newRig(t)
	r.request.Args["archives"] = []any{"deb http://user:" + secret + "@a.test/x noble main"}
	r.request.Args["auth_token"] = token
	leak := fmt.Errorf("cannot fetch http://user:%s@a.test/x with %s or http://other:unknown@b.test/", secret, token)
	r.stub.build = func(_ context.Context, env builders.Env) error {
		// A stage ends in the middle of a secret, so to speak.
		_, err := io.WriteString(env.Log, "the token is "+token)
		return errors.Join(err, leak)
	}
	r.target.Fail("remove", leak)
	o := r.run()
	if want := "cannot fetch http://a.test/x with [redacted] or http://b.test/"; o.Cause != want {
		t.Errorf("the cause is %q, want %q", o.Cause, want)
	}
	r.expectLog("the token is [redacted]\n")
	for place, text := range map[string]string{"build log": r.log(), "daemon's log": r.daemon.String(), "outcome": fmt.Sprint(o), "ledger": r.ledger()} {
		for _, s := range []string{secret, `pa55\\word`, token} {
			if strings.Contains(text, s) {
				t.Errorf("the %s has %s:\n%s", place, s, text)
			}
		}
	}
	if !strings.Contains(r.daemon.String(), "cannot fetch http://a.test/x") {
		t.Errorf("the daemon's log is %s", r.daemon.String())
	}
}

// TestTheSitesOwnCredentialsReachNoLog: public logs show the proxy of apt.
func TestTheSitesOwnCredentialsReachNoLog(t *testing.T) {
	r := newRig(t)
	r.request.Settings.Site.AptProxy = "http://site:s3cr3t@proxy.test:3128"
	r.request.Settings.Site.SnapStore = "http://site:pr1vate@store.test"
	r.request.Settings.Site.ClamAVDatabase = "http://site:h1dden@clamav.test"
	r.stub.build = func(_ context.Context, env builders.Env) error {
		fmt.Fprintf(env.Log, "%s\n%s\n", env.Site.SnapStore, env.Site.ClamAVDatabase)
		return errors.New("cannot use " + env.Site.SnapStore)
	}
	o := r.run()
	r.expectLog("--apt-proxy-url http://[redacted]@proxy.test:3128 ")
	for place, text := range map[string]string{"build log": r.log(), "daemon's log": r.daemon.String(), "outcome": fmt.Sprint(o)} {
		for _, s := range []string{"s3cr3t", "pr1vate", "h1dden"} {
			if strings.Contains(text, s) {
				t.Errorf("the %s has %s:\n%s", place, s, text)
			}
		}
	}
}

// TestPrivateLogsLoseUnknownCredentials: the same text stays in a public log.
func TestPrivateLogsLoseUnknownCredentials(t *testing.T) {
	for value, private := range map[any]bool{false: false, true: true, int64(1): true} {
		r := newRig(t)
		r.request.Args["archive_private"] = value
		r.stub.build = func(_ context.Context, env builders.Env) error {
			_, err := io.WriteString(env.Log, "Get:1 http://user:unknown@h.test/a InRelease\n")
			return err
		}
		r.run()
		if strings.Contains(r.log(), "unknown") == private {
			t.Errorf("archive_private %v:\n%s", value, r.log())
		}
	}
}

func TestLogsOfTypesThatNeedItLoseUnknownCredentials(t *testing.T) {
	r := newRig(t)
	find := r.machine.find
	r.machine.find = func(tag string) (builders.Type, error) {
		typ, err := find(tag)
		typ.Sanitize = true
		return typ, err
	}
	r.stub.build = func(_ context.Context, env builders.Env) error {
		_, err := io.WriteString(env.Log, "Cloning http://user:unknown@h.test/a\n")
		return err
	}
	r.run()
	if strings.Contains(r.log(), "unknown") || !strings.Contains(r.log(), "Cloning http://") {
		t.Errorf("the log:\n%s", r.log())
	}
}

func TestPrepRunsTheOperatorsOwnProgram(t *testing.T) {
	for code, want := range map[int]verdict.Outcome{0: verdict.OK, 3: verdict.BuilderFail} {
		r := newRig(t)
		bin := filepath.Join(r.request.Settings.SharePath, "bin")
		if err := os.Mkdir(bin, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(bin, "builder-prep"), []byte("#!/bin/sh\necho ready\nexit "+fmt.Sprint(code)+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		r.machine.runners = func(_ account, dir string, _ func(backends.Stray)) (user, root backends.Runner) {
			return backends.Host{Dir: dir}, nil
		}
		delete(r.request.Args, "trusted_keys")
		if o := r.run(); o.Status != want {
			t.Errorf("exit code %d: %+v", code, o)
		}
		r.expectLog("builder-prep \nready\n")
	}
}

func TestAClockThatCannotBeSetIsOnlyALine(t *testing.T) {
	r := newRig(t)
	r.request.Settings.Site.NTPHost = "ntp.test"
	r.target.Script("root: ntpdate -u ntp.test", exitCode(1))
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	r.expectLog("Syncing the system clock with the buildd NTP service...\nCannot set the clock, going on: ")
}

// TestBlame: a machine that is out of space is to blame for everything but
// what only a package or a manager can cause.
func TestBlame(t *testing.T) {
	plenty, short, full := disk.Room{Bytes: 1 << 50, Inodes: disk.Uncounted}, disk.Room{Bytes: 100 << 20, Inodes: disk.Uncounted}, disk.Room{Bytes: 1 << 20, Inodes: disk.Uncounted}
	few, none := disk.Room{Bytes: 1 << 50, Inodes: 1000}, disk.Room{Bytes: 1 << 50, Inodes: 3}
	verdictOf := func(o verdict.Outcome) error { return &verdict.BuildError{Outcome: o} }
	for _, c := range []struct {
		name string
		free disk.Room
		log  string
		err  error
		host bool
	}{
		{"enough space", plenty, "No space left on device\n", verdictOf(verdict.PackageFail), false},
		{"no space", full, "", verdictOf(verdict.PackageFail), true},
		{"no space, no verdict", full, "", &backends.ExitError{Code: 1}, true},
		{"no space in the image", full, "", verdictOf(verdict.ChrootFail), true},
		{"little space", short, "", verdictOf(verdict.PackageFail), false},
		{"little space that was even less", short, "tar: x: No space left on device\n", verdictOf(verdict.PackageFail), true},
		{"no inodes", none, "", verdictOf(verdict.PackageFail), true},
		{"few inodes", few, "", verdictOf(verdict.PackageFail), false},
		{"few inodes that were even less", few, "touch: x: No space left on device\n", verdictOf(verdict.PackageFail), true},
		{"no space, but missing dependencies", full, "", verdictOf(verdict.DepFail), false},
		{"no space, but given back", full, "", verdictOf(verdict.GivenBack), false},
		{"a known host fault", plenty, "", &verdict.HostFault{Err: errors.New("x")}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.replace("build", func(_ context.Context, b *build) error {
				b.watch.least.note(c.free)
				b.voice.say("%s", c.log)
				return c.err
			})
			o := r.run()
			if host := o.Status == "BUILDERFAIL"; host != c.host {
				t.Errorf("the outcome is %+v", o)
			}
		})
	}
}

// TestResultsWithoutAnOutcomeStayListed: nobody else knows of them then, and
// whoever cleans up removes them.
func TestResultsWithoutAnOutcomeStayListed(t *testing.T) {
	for _, written := range []bool{true, false} {
		r := newRig(t)
		r.stub.gather = func(add func(string, io.ReadCloser) error) error {
			return add("a.deb", io.NopCloser(strings.NewReader("a result")))
		}
		if !written {
			if err := os.MkdirAll(filepath.Join(r.dir.Outcome(), "in the way"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		o := r.run()
		list, err := os.ReadFile(r.dir.Results())
		if known := string(list) == o.FileMap["a.deb"]+"\n"; o.Status != "OK" || known == written || known != (err == nil) {
			t.Errorf("outcome written %v: the list is %q, %v, the outcome %+v", written, list, err, o)
		}
	}
}

// Whoever reads the log is to know first for what the build is, and what of its
// arguments has no effect; the rest of the build knows the ABI only.
func TestTheLogBeginsWithTheVariantAndWhatIsUnknown(t *testing.T) {
	r := newRig(t)
	r.request.Args["abi_tag"], r.request.Args["isa_tag"], r.request.Args["arch_tag"] = "riscv64", "riscv64rva23", "riscv64rva23"
	r.request.Args["of_tomorrow"] = map[string]any{"token": "s3cret"}
	var common builders.Common
	r.stub.build = func(_ context.Context, env builders.Env) error {
		common = env.Common
		return nil
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	const want = "https://x.test/+b/7\nBuilding for riscv64rva23, a variant of riscv64.\nIgnoring arguments that this builder does not know: of_tomorrow\n"
	if log := r.log(); !strings.HasPrefix(log, want) || strings.Contains(log, "s3cret") || strings.Count(log, ", a variant of ") != 1 {
		t.Errorf("the log is\n%s", log)
	}
	if common.ABI != "riscv64" || common.Variant != "riscv64rva23" {
		t.Errorf("the build is for %+v", common)
	}
}

// No machine knows the word size of a variant.
func TestTargetsAreThoseOfTheABI(t *testing.T) {
	r := newRig(t)
	r.request.Args["abi_tag"], r.request.Args["isa_tag"] = "riscv64", "riscv64rva23"
	var made target
	r.machine.newTarget = func(p place) (target, error) {
		var err error
		made, err = newTarget(p)
		return hooked{r.target, r}, err
	}
	r.run()
	if made == nil {
		t.Fatal("there is no target")
	}
	err := made.Run(t.Context(), backends.Command{Argv: []string{"true"}})
	if err == nil || strings.Contains(err.Error(), "word size") {
		t.Errorf("in a target that does not exist: %v", err)
	}
}

// TestTheNextBuildSaysThatTheLedgerWasDamaged, and is built.
func TestTheNextBuildSaysThatTheLedgerWasDamaged(t *testing.T) {
	r := newRig(t)
	if err := os.WriteFile(r.dir.Ledger(), []byte("rubbish\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
	r.expectLog("was damaged; it cleans up after earlier ones by what it finds")
	if !strings.Contains(r.daemon.String(), leftovers.Damaged) {
		t.Errorf("the daemon's log is %s", r.daemon.String())
	}
	if _, err := os.Lstat(r.dir.Ledger() + ".damaged"); err != nil {
		t.Error(err)
	}
}
