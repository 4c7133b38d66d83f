package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

// source writes a source package and an image into a folder, which becomes the
// working folder.
func source(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	orig := "the original source"
	dsc := fmt.Sprintf("-----BEGIN PGP SIGNED MESSAGE-----\n\nSource: hello\nChecksums-Sha1:\n %s %d hello_1.orig.tar.gz\nFiles:\n 0 0 other\n", sha1Of([]byte(orig)), len(orig))
	write(t, "hello_1.dsc", dsc)
	write(t, "hello_1.orig.tar.gz", orig)
	write(t, "base.tar.gz", "the image")
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// helloScript is a successful build.
func helloScript() []func(*fakeBuilder) {
	return []func(*fakeBuilder){
		logs("[Mon Jun  9 04:26:40 2025]\nRUN: /usr/share/launchpad-buildd/bin/builder-prep\nprep"),
		logs("aring\n[Mon Jun  9 04:26:41 2025]\nRUN: /usr/share/launchpad-buildd/bin/in-target unpack-chroot --series=x\n"),
		nothing,
		logs("RUN: /usr/share/launchpad-buildd/bin/sbuild-package LOCAL\nno newline at the end"),
		ends("OK", map[string]string{"hello_1_riscv64.deb": "a deb", "hello_1_riscv64.changes": "changes"}),
	}
}

func TestRunBuildsAndDownloads(t *testing.T) {
	source(t)
	write(t, "key.asc", "a key")
	f := newFakeBuilder(t, helloScript()...)
	code, stdout, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--archive", "deb [a=b c=d] http://archive.example/ noble-proposed main",
		"--key", "key.asc", "--arg", "arch_indep:=true", "--arg", "extra=1", "--id", "LOCAL-1", "-o", "out", "hello_1.dsc")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	want := buildd.Request{
		BuildID: "LOCAL-1", Tag: "binarypackage", Image: sha1Of([]byte("the image")),
		Files: ordered.Map[string]{{Name: "hello_1.dsc", Value: sha1Of([]byte(read(t, "hello_1.dsc")))}, {Name: "hello_1.orig.tar.gz", Value: sha1Of([]byte("the original source"))}},
		Args: map[string]any{
			"series": "noble", "suite": "noble-proposed", "arch_tag": "riscv64", "ogrecomponent": "main", "archive_purpose": "PRIMARY",
			"archive_private": false, "arch_indep": true, "build_debug_symbols": false, "image_type": "chroot", "extra": "1",
			"archives":     []any{"deb [a=b c=d] http://archive.example/ noble-proposed main"},
			"trusted_keys": []any{"YSBrZXk="},
		},
	}
	if !reflect.DeepEqual(f.request, want) {
		t.Errorf("got request  %+v\nwant %+v", f.request, want)
	}
	if got := read(t, "out/hello_1_riscv64.deb"); got != "a deb" {
		t.Errorf("downloaded %q", got)
	}
	if got := read(t, "out/hello_1_riscv64.build"); got != string(f.log) {
		t.Errorf("the log is %q", got)
	}
	if want := string(f.log) + "\nout/hello_1_riscv64.changes\nout/hello_1_riscv64.deb\n"; stdout != want {
		t.Errorf("stdout is %q, want %q", stdout, want)
	}
	if got := f.called(); !slices.Equal(got, []string{"build", "clean"}) {
		t.Errorf("called %q", got)
	}
}

func TestASourceOfNothingButIndependentPackagesIsBuilt(t *testing.T) {
	for _, tt := range []struct {
		architecture string
		flags        []string
		want         bool
	}{
		{"all", nil, true},
		{"any", nil, false},
		{"any all", nil, false},
		{"any all", []string{"-A"}, true},
		{"all", []string{"--arch-indep=false"}, false},
	} {
		source(t)
		write(t, "hello_1.dsc", "Architecture: "+tt.architecture+"\n"+read(t, "hello_1.dsc"))
		f := newFakeBuilder(t, helloScript()...)
		args := append([]string{"run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc"}, tt.flags...)
		if code, _, stderr := f.lpbuild(t.Context(), args...); code != 0 || f.request.Args["arch_indep"] != tt.want {
			t.Errorf("%s, %v: exit code %d, arch_indep %v: %s", tt.architecture, tt.flags, code, f.request.Args["arch_indep"], stderr)
		}
	}
}

func TestRunTellsProgramsWhatHappens(t *testing.T) {
	source(t)
	f := newFakeBuilder(t, helloScript()...)
	code, stdout, stderr := f.lpbuild(t.Context(), "run", "--json", "--image", "base.tar.gz", "--series", "noble", "--id", "LOCAL-1", "hello_1.dsc")
	if code != 0 || stderr != "" {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var kinds, stages, lines []string
	var last event
	for line := range strings.Lines(stdout) {
		last = event{}
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatalf("%q is no JSON: %v", line, err)
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != last.Event {
			kinds = append(kinds, last.Event)
		}
		switch last.Event {
		case "stage":
			stages = append(stages, last.Stage)
		case "log":
			lines = append(lines, *last.Text)
		}
	}
	if want := []string{"present", "accepted", "log", "stage", "log", "stage", "log", "stage", "log", "file", "outcome"}; !slices.Equal(kinds, want) {
		t.Errorf("got events %q\nwant %q", kinds, want)
	}
	if want := []string{"builder-prep", "unpack-chroot", "sbuild-package"}; !slices.Equal(stages, want) {
		t.Errorf("got stages %q, want %q", stages, want)
	}
	if got := strings.Join(lines, "\n"); got != string(f.log) {
		t.Errorf("got log %q, want %q", got, f.log)
	}
	if last.Outcome != "OK" || *last.ExitCode != 0 || last.BuildID != "LOCAL-1" || !slices.Equal(last.Files, []string{"hello_1_riscv64.changes", "hello_1_riscv64.deb"}) {
		t.Errorf("the last event is %+v", last)
	}
}

func TestExitCodesTellTheOutcome(t *testing.T) {
	help := (&app{out: newPrinter(nil, nil)}).command().Long
	tests := map[string]int{
		"OK": 0, "PACKAGEFAIL": 2, "DEPFAIL": 3, "GIVENBACK": 4, "CHROOTFAIL": 5, "BUILDERFAIL": 6, "ABORTED": 7, "STRANGE": 1,
	}
	for outcome, want := range tests {
		t.Run(outcome, func(t *testing.T) {
			source(t)
			f := newFakeBuilder(t, logs("log\n"), ends(outcome, nil))
			code, _, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
			if code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			if !strings.Contains(stderr, outcome+": ") {
				t.Errorf("the outcome is not in %q", stderr)
			}
			if outcome == "DEPFAIL" && !strings.Contains(stderr, "libfoo-dev (>= 2)") {
				t.Errorf("the dependencies are not in %q", stderr)
			}
			if want > 1 && !strings.Contains(help, fmt.Sprintf("  %d  ", want)) || want > 1 && !strings.Contains(help, "("+outcome+")") {
				t.Errorf("the help does not mention %s and %d", outcome, want)
			}
			if got := f.called(); !slices.Equal(got, []string{"build", "clean"}) {
				t.Errorf("called %q", got)
			}
		})
	}
}

func TestInterruptingRunAbortsAndCleans(t *testing.T) {
	source(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupt := func(*fakeBuilder) { cancel(context.Canceled) }
	f := newFakeBuilder(t, logs("RUN: x\n"), interrupt)
	code, _, stderr := f.lpbuild(ctx, "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
	if code != 7 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if got := f.called(); !slices.Equal(got, []string{"build", "abort", "clean"}) {
		t.Errorf("called %q", got)
	}
	if got := read(t, "hello_1_riscv64.build"); got != "RUN: x\nAborted.\n" {
		t.Errorf("the log is %q", got)
	}
}

// TestInterruptingRunDoesNotWaitForABuilderThatIsGone as it would without an
// interrupt, e.g. while the builder's machine shuts down.
func TestInterruptingRunDoesNotWaitForABuilderThatIsGone(t *testing.T) {
	source(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	f := newFakeBuilder(t, logs("RUN: x\n"), func(f *fakeBuilder) {
		f.gone = true
		cancel(context.Canceled)
	})
	code, _, stderr := f.lpbuild(ctx, "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
	f.mu.Lock()
	defer f.mu.Unlock()
	if code != 1 || !strings.Contains(stderr, "The build may still be there") || f.asked != 1 {
		t.Errorf("exit code %d, asked %d times: %s", code, f.asked, stderr)
	}
}

func TestAnAbortThatComesTooLateStillGivesTheOutcome(t *testing.T) {
	source(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	f := newFakeBuilder(t, func(f *fakeBuilder) {
		ends("OK", map[string]string{"hello.deb": "a deb"})(f)
		cancel(context.Canceled)
	})
	code, _, stderr := f.lpbuild(ctx, "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
	if code != 0 || read(t, "hello.deb") != "a deb" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestResultsNeverLeaveTheOutputFolder(t *testing.T) {
	for _, name := range []string{"../evil", "/evil", "a/../../evil", ".", "..", "link/evil", "a//b", "./a", "a/.."} {
		t.Run(name, func(t *testing.T) {
			source(t)
			outside := t.TempDir()
			if err := os.Mkdir("out", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(outside, "out/link"); err != nil {
				t.Fatal(err)
			}
			f := newFakeBuilder(t, ends("OK", map[string]string{name: "evil"}))
			code, _, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--series", "noble", "-o", "out", "hello_1.dsc")
			if code != 1 || !strings.Contains(stderr, "cannot save the result") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			if got := f.called(); !slices.Equal(got, []string{"build"}) {
				t.Errorf("called %q, want the results to stay", got)
			}
			for _, dir := range []string{outside, "."} {
				err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if d != nil && (d.Name() == "evil" || strings.HasPrefix(d.Name(), ".lpbuild-")) {
						t.Errorf("there is a file %s", path)
					}
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestResultsInFoldersAreSavedThere(t *testing.T) {
	source(t)
	f := newFakeBuilder(t, ends("OK", map[string]string{"job:0/out put": "x"}))
	code, stdout, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
	if code != 0 || read(t, "job:0/out put") != "x" || stdout != "job:0/out put\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func TestADamagedResultIsNotSaved(t *testing.T) {
	source(t)
	f := newFakeBuilder(t, func(f *fakeBuilder) {
		ends("OK", map[string]string{"hello.deb": "a deb"})(f)
		f.cache[f.status.FileMap["hello.deb"]] = []byte("damaged")
	})
	code, _, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc")
	if code != 1 || !strings.Contains(stderr, "what the builder sent has SHA-1") || !strings.Contains(stderr, "lpbuild fetch") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat("hello.deb"); err == nil {
		t.Error("it was saved")
	}
}

func TestRunRefusesBeforeItStarts(t *testing.T) {
	tests := []struct {
		name   string
		status buildd.Status
		change func(t *testing.T)
		args   []string
		want   string
	}{
		{name: "a builder with results", status: buildd.Status{State: buildd.Waiting, BuildID: "B-1"}, want: "still has the results of B-1: 'lpbuild fetch'"},
		{name: "a busy builder", status: buildd.Status{State: buildd.Building, BuildID: "B-1"}, want: "busy with B-1: wait for its end with 'lpbuild watch'"},
		{name: "a drained builder", status: buildd.Status{State: buildd.Idle, Drained: buildd.DrainedText}, want: "cannot build now: this builder is drained by its operator"},
		{name: "no series", args: []string{"--series", ""}, want: "say with --series"},
		{name: "no image", args: []string{"--image", "none.tar.gz"}, want: "cannot use the base image: stat "},
		{name: "a bad argument", args: []string{"--arg", "x"}, want: `--arg "x": want key=text or key:=JSON`},
		{name: "a missing key", args: []string{"--key", "none"}, want: "cannot use the key: open none"},
		{name: "a source without its files", change: func(t *testing.T) { remove(t, "hello_1.orig.tar.gz") }, want: "cannot read a file of hello_1.dsc: open hello_1.orig.tar.gz"},
		{name: "a source with a changed file", change: func(t *testing.T) { write(t, "hello_1.orig.tar.gz", "x") }, want: "fetch the source again"},
		{name: "a source that points elsewhere", change: func(t *testing.T) { write(t, "hello_1.dsc", "Checksums-Sha1:\n 00 0 ../x\n") }, want: `it names the file "../x", which is not beside it`},
		{name: "a source without files", change: func(t *testing.T) { write(t, "hello_1.dsc", "Source: x\n") }, want: "names no files"},
		{name: "an address that is not ours", args: []string{"--serve-address", "192.0.2.1"}, want: "cannot offer files to the builder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			source(t)
			f := newFakeBuilder(t)
			if tt.status.State != "" {
				f.status = tt.status
			}
			if tt.change != nil {
				tt.change(t)
			}
			args := append([]string{"run", "--image", "base.tar.gz", "--series", "noble", "hello_1.dsc"}, tt.args...)
			code, _, stderr := f.lpbuild(t.Context(), args...)
			if code != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d: %s\nwant %s", code, stderr, tt.want)
			}
			if got := f.called(); len(got) != 0 {
				t.Errorf("called %q", got)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
