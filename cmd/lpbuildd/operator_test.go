package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// operated is a builder whose daemon does not run.
type operated struct {
	t      *testing.T
	cache  string
	config string
}

// newOperated makes the cache and the configuration of a builder.
func newOperated(t *testing.T) *operated {
	t.Helper()
	o := &operated{t: t, cache: t.TempDir(), config: filepath.Join(t.TempDir(), "default")}
	if err := os.Mkdir(o.state().Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	o.write(o.config, strings.ReplaceAll(minimal, "@CACHE@", o.cache))
	return o
}

func (o *operated) write(path, text string) {
	o.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		o.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
}

// at writes the journal of a builder in this state.
func (o *operated) at(journal map[string]any) {
	o.t.Helper()
	if err := disk.WriteJSON(o.state().Journal(), journal); err != nil {
		o.t.Fatal(err)
	}
}

func (o *operated) state() state.Folder { return state.Folder(filepath.Join(o.cache, ".lpbuildd")) }

// run runs a command of the program and returns what it printed.
func (o *operated) run(args ...string) (string, error) {
	o.t.Helper()
	var out bytes.Buffer
	cmd := newCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append(args, "--config", o.config))
	err := cmd.ExecuteContext(o.t.Context())
	return out.String(), err
}

// says runs a command that must print this.
func (o *operated) says(want string, args ...string) {
	o.t.Helper()
	if got, err := o.run(args...); err != nil || got != want {
		o.t.Errorf("%q: %v, printed\n%s\nwant\n%s", args, err, got, want)
	}
}

// fails runs a command that must fail with an error that has this text.
func (o *operated) fails(want string, args ...string) {
	o.t.Helper()
	if got, err := o.run(args...); err == nil || !strings.Contains(err.Error(), want) {
		o.t.Errorf("%q: %v, printed\n%s\nwant an error with\n%s", args, err, got, want)
	}
}

func TestDrainAndUndrain(t *testing.T) {
	o := newOperated(t)
	o.says("The builder was not drained.\n", "undrain")
	o.says("The builder is drained: it has no build.\n", "drain", "--reason", "new kernel")
	if d := buildd.ReadDrain(o.state()); d == nil || d.Reason != "new kernel" || time.Since(d.Since) > time.Minute {
		t.Errorf("drained: %+v", d)
	}
	o.at(map[string]any{"state": "BUILDING", "build_id": "B-1"})
	o.says("The builder is drained: \"B-1\" still runs (BUILDING).\n", "drain")
	o.at(map[string]any{"state": "WAITING", "build_id": "B-1", "outcome": job.Outcome{BuildID: "B-1", Status: "OK"}})
	o.says("The builder is drained: the results of \"B-1\" wait for the manager.\n", "drain")
	o.says("The builder takes builds again. If the manager has disabled it meanwhile, enable it there.\n", "undrain")
	if d := buildd.ReadDrain(o.state()); d != nil {
		t.Errorf("undrained: %+v", d)
	}
}

func TestDrainSaysWhyItCannot(t *testing.T) {
	o := newOperated(t)
	o.fails("--reason: want one line", "drain", "--reason", "a\nb")
	o.fails("--timeout: want a duration such as 90m, together with --wait", "drain", "--timeout", "1h")
	o.fails("unknown command", "drain", "now")
	o.fails("the configuration cannot be used; name the one of the builder with --config", "drain", "--set", "builder.filecache=/nonexistent")
	if d := buildd.ReadDrain(o.state()); d != nil {
		t.Errorf("drained: %+v", d)
	}
	if os.Geteuid() != 0 {
		o.fails("run this as root or as", "drain", "--set", "builder.filecache=/")
	}
}

func TestUnknownCommandsAreErrors(t *testing.T) {
	o := newOperated(t)
	for _, group := range []string{"image", "config", "kept"} {
		o.fails(`unknown command "frob" for "lpbuildd `+group+`"`, group, "frob")
	}
}

func TestWrongUsageIsExplained(t *testing.T) {
	o := newOperated(t)
	o.fails("usage: lpbuildd kept rm BUILD-ID [flags]; see 'lpbuildd kept rm --help'", "kept", "rm")
	o.fails("unknown flag: --jason; see 'lpbuildd gc --help'", "gc", "--jason")
}

func TestDrainGivesUpItsWait(t *testing.T) {
	o := newOperated(t)
	o.at(map[string]any{"state": "ABORTING", "build_id": "B-1"})
	o.fails("after 1ns: \"B-1\" still runs (ABORTING); wait longer", "drain", "--wait", "--timeout", "1ns")
}

func TestDrainWaitsForAnEmptyBuilder(t *testing.T) {
	o := newOperated(t)
	o.at(map[string]any{"state": "BUILDING", "build_id": "B-1"})
	var out strings.Builder
	onward := writerFunc(func(p []byte) (int, error) { // when it has said what it waits for
		o.at(map[string]any{"state": "IDLE"})
		return out.Write(p)
	})
	synctest.Test(t, func(t *testing.T) {
		cmd := newCommand()
		cmd.SetOut(onward)
		cmd.SetArgs([]string{"drain", "--wait", "--config", o.config})
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Error(err)
		}
	})
	const want = "Waiting: \"B-1\" still runs (BUILDING).\nThe builder is drained: it has no build.\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
