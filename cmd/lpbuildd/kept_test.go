package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
)

// keepBuild keeps a build in a state folder, and returns its id.
func keepBuild(t *testing.T, folder state.Folder, buildID string, failed time.Time) string {
	t.Helper()
	builds := kept.In(folder)
	id, path := builds.NewPath()
	if err := builds.Begin(path); err != nil {
		t.Fatal(err)
	}
	if err := builds.Commit(path, kept.Record{ID: id, BuildID: buildID, Tag: "snap", Status: "PACKAGEFAIL", Failed: failed}); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhichBuildIsEntered(t *testing.T) {
	folder := state.Folder(t.TempDir())
	var out strings.Builder
	if _, err := onlyKept(&out, folder); err == nil || !strings.Contains(err.Error(), "[keep] failed") {
		t.Errorf("without any: %v", err)
	}
	id := keepBuild(t, folder, "B-1", time.Now())
	if got, err := onlyKept(&out, folder); got != id || err != nil || out.Len() > 0 {
		t.Errorf("with one: %s, %v, %q", got, err, out.String())
	}
	keepBuild(t, folder, "B-2", time.Now())
	if _, err := onlyKept(&out, folder); err == nil || !strings.Contains(out.String(), "B-1") || !strings.Contains(out.String(), "B-2") {
		t.Errorf("with two: %v\n%s", err, out.String())
	}
}

func TestKeptList(t *testing.T) {
	cache := t.TempDir()
	path := filepath.Join(t.TempDir(), "config")
	text := strings.ReplaceAll(minimal, "@CACHE@", cache)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		var out strings.Builder
		cmd := newCommand()
		cmd.SetOut(&out)
		cmd.SetArgs(append(args, "--config", path))
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out.String()
	}
	if out := run("kept"); out != "Nothing is kept.\n" {
		t.Errorf("nothing is %q", out)
	}
	if out := run("kept", "--json"); out != "[]\n" {
		t.Errorf("nothing is %q", out)
	}
	id := keepBuild(t, state.Folder(filepath.Join(cache, ".lpbuildd")), "B-1", time.Now())
	for _, args := range [][]string{{"kept"}, {"kept", "--json"}} {
		if out := run(args...); !strings.Contains(out, id) || !strings.Contains(out, "B-1") || !strings.Contains(out, "PACKAGEFAIL") {
			t.Errorf("%v: %s", args, out)
		}
	}
	run("kept", "expire") // it has no end, so it is due
	if out := run("kept"); out != "Nothing is kept.\n" {
		t.Errorf("kept is %q", out)
	}
}

// A mistake in the configuration keeps the daemon from running, and so from
// removing what has expired; it must not keep this command from it.
func TestExpiryDespiteMistakes(t *testing.T) {
	o := newOperated(t)
	keepBuild(t, o.state(), "B-1", time.Now())
	o.write(o.config, strings.ReplaceAll(minimal, "@CACHE@", o.cache)+"[limits]\nmemory = much\n")
	o.says("", "kept", "expire")
	o.says("Nothing is kept.\n", "kept")
	o.fails("limits.memory", "drain")
	o.fails("builder.filecache", "kept", "--set", "builder.filecache=/nonexistent")
}

func TestHowMuchRoomIsWanted(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "0": 0, "123\n": 123, "-5": 0, "much": 0, "99999999999999999999999": 0} {
		if got := wanted(strings.NewReader(text)); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
}
