package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
)

// at puts the builder into a state.
func (f *fakeBuilder) at(st buildd.Status) *fakeBuilder {
	f.status = st
	return f
}

func TestCommands(t *testing.T) {
	building := buildd.Status{State: buildd.Building, Version: "1.0", BuildID: "B-1", LogTail: []byte("the\x1b[31m end")}
	waiting := buildd.Status{State: buildd.Waiting, BuildID: "B-1", Outcome: "DEPFAIL", Dependencies: "a (>= 1)", FileMap: map[string]string{}}
	drained := buildd.Status{State: buildd.Idle, Drained: buildd.DrainedText + "; until tomorrow"}
	tests := []struct {
		name           string
		status         buildd.Status
		script         []func(*fakeBuilder)
		args           []string
		code           int
		stdout, stderr string
	}{
		{name: "info", args: []string{"info"}, stdout: "architecture: riscv64\nbuild types:  binarypackage, snap, oci, sourcepackagerecipe, livefs\n"},
		{name: "info for programs", args: []string{"info", "--json"}, stdout: `{"arch":"riscv64","types":["binarypackage","snap","oci","sourcepackagerecipe","livefs"]}` + "\n"},
		{name: "status of an idle builder", status: buildd.Status{State: buildd.Idle, Version: "1.0"}, args: []string{"status"}, stdout: "state:        IDLE\nversion:      1.0\n"},
		{name: "status of a drained builder", status: drained, args: []string{"status"}, stdout: "state:        IDLE\ndrained:      this builder is drained by its operator; until tomorrow\n"},
		{name: "status of a drained builder for programs", status: drained, args: []string{"status", "--json"}, stdout: `{"state":"IDLE","drained":"this builder is drained by its operator; until tomorrow"}` + "\n"},
		{name: "status of a busy builder", status: building, args: []string{"status"}, stdout: "state:        BUILDING\nversion:      1.0\nbuild:        B-1\nend of the log:\nthe\x1b[31m end\n"},
		{name: "status after a build", status: waiting, args: []string{"status"}, stdout: "state:        WAITING\nbuild:        B-1\noutcome:      DEPFAIL, build dependencies are missing: a (>= 1)\n"},
		{name: "status for programs", status: waiting, args: []string{"status", "--json"}, stdout: `{"state":"WAITING","build_id":"B-1","outcome":"DEPFAIL","dependencies":"a (\u003e= 1)"}` + "\n"},
		{name: "abort", status: building, args: []string{"abort"}, stderr: "The builder aborts the build; 'lpbuild watch' shows when that is done.\n"},
		{name: "abort and wait", status: building, args: []string{"abort", "--wait"}, stderr: "ABORTED: the build was aborted\n"},
		{name: "abort of nothing", args: []string{"abort"}, code: 1, stderr: "lpbuild: the builder refused: abort() needs a builder that is BUILDING or ABORTING, this one is IDLE: there is no build\n"},
		{name: "abort of nothing, with patience", args: []string{"abort", "--wait"}, code: 1, stderr: "lpbuild: the builder refused: abort() needs a builder that is BUILDING or ABORTING, this one is IDLE: there is no build\n"},
		{name: "clean", status: waiting, args: []string{"clean"}, stderr: "The builder is idle.\n"},
		{name: "clean for programs", status: waiting, args: []string{"clean", "--json"}, stdout: `{"event":"cleaned"}` + "\n"},
		{
			name: "errors for programs", args: []string{"clean", "--json"}, code: 1,
			stdout: `{"event":"error","error":"the builder refused: clean() needs a builder that is WAITING, this one is IDLE: there is no build","exit_code":1}` + "\n",
			stderr: "lpbuild: the builder refused: clean() needs a builder that is WAITING, this one is IDLE: there is no build\n",
		},
		{name: "watch of nothing", args: []string{"watch"}, code: 1, stderr: "lpbuild: the builder is idle, there is nothing to watch\n"},
		{
			name: "watch", status: building, script: []func(*fakeBuilder){logs("one\n"), nothing, logs("two"), ends("PACKAGEFAIL", nil)}, args: []string{"watch"}, code: 2,
			stdout: "one\ntwo\n", stderr: "PACKAGEFAIL: the package failed to build; the end of the log says why\n",
		},
		{
			name: "watch of a build that is lost", status: building, args: []string{"watch"}, code: 1,
			script: []func(*fakeBuilder){nothing, func(f *fakeBuilder) { f.status = buildd.Status{State: buildd.Idle} }},
			stderr: "lpbuild: the builder has lost build B-1\n",
		},
		{name: "fetch from an idle builder", args: []string{"fetch"}, code: 1, stderr: "lpbuild: the builder is IDLE: there are results only after a build; 'lpbuild watch' waits for its end\n"},
		{
			name: "nothing to ensure", args: []string{"ensure"}, code: 1,
			stderr: "lpbuild: requires at least 1 arg(s), only received 0\nUsage: lpbuild ensure FILE|URL... [flags]\nSee 'lpbuild ensure --help'.\n",
		},
		{
			name: "a file that is not there", args: []string{"ensure", "/no/such/file"}, code: 1,
			stderr: "lpbuild: cannot give the builder /no/such/file: stat /no/such/file: no such file or directory\n",
		},
		{
			name: "a source that is not there", args: []string{"run", "--image", "x", "/no/such.dsc"}, code: 1,
			stderr: "lpbuild: cannot read the source package: open /no/such.dsc: no such file or directory\n",
		},
		{name: "build with a bad file", args: []string{"build", "snap", "00", "x"}, code: 1, stderr: "lpbuild: \"x\" is no file: want NAME=SHA1\n"},
		{name: "build without its image", args: []string{"build", "snap", "00"}, code: 1, stderr: "lpbuild: the base image 00 is not in the file cache; give it to the builder with 'lpbuild ensure'\n"},
		{name: "build of an unknown type", args: []string{"build", "unknown", "00"}, code: 1, stderr: "lpbuild: unknown build type \"unknown\", known are binarypackage, "},
		{name: "ensure with a URL but no checksum", args: []string{"ensure", "http://host/x"}, code: 1, stderr: "lpbuild: a URL must come alone and with --sha1, so that the builder can check what it gets\n"},
		{name: "ensure with a checksum but no URL", args: []string{"ensure", "x", "--sha1", "00"}, code: 1, stderr: "lpbuild: --sha1 and --user are for URLs only\n"},
		{name: "an unknown flag", args: []string{"status", "--verbose"}, code: 1, stderr: "lpbuild: unknown flag: --verbose\nSee 'lpbuild status --help'.\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeBuilder(t, tt.script...)
			if tt.status.State != "" {
				f.at(tt.status)
			}
			code, stdout, stderr := f.lpbuild(t.Context(), tt.args...)
			if code != tt.code || stdout != tt.stdout || !strings.HasPrefix(stderr, tt.stderr) || tt.stderr == "" && stderr != "" {
				t.Errorf("got %d, stdout %q, stderr %q\nwant %d, %q, %q", code, stdout, stderr, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestFetchKeepsTheResultsAtTheBuilder(t *testing.T) {
	t.Chdir(t.TempDir())
	f := newFakeBuilder(t)
	logs("the log")(f)
	ends("OK", map[string]string{"x.deb": "a deb"})(f)
	code, stdout, stderr := f.lpbuild(t.Context(), "fetch", "-o", "new/folder")
	if code != 0 || stdout != "new/folder/x.deb\n" || read(t, "new/folder/buildlog") != "the log" || read(t, "new/folder/x.deb") != "a deb" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if got := f.called(); len(got) != 0 {
		t.Errorf("called %q", got)
	}
}

// TestTheExitCodeInJSONIsThatOfTheProcess: fetching what a failed build left is no
// failure.
func TestTheExitCodeInJSONIsThatOfTheProcess(t *testing.T) {
	t.Chdir(t.TempDir())
	for command, want := range map[string]int{"fetch": 0, "watch": 2} {
		f := newFakeBuilder(t)
		ends("PACKAGEFAIL", nil)(f)
		code, stdout, stderr := f.lpbuild(t.Context(), "--json", command)
		if code != want || !strings.Contains(stdout, fmt.Sprintf(`"exit_code":%d}`, want)) {
			t.Errorf("%s: exit code %d: %s%s", command, code, stdout, stderr)
		}
	}
}

func TestBuildPrintsTheBuildID(t *testing.T) {
	f := newFakeBuilder(t)
	f.cache["00"] = nil
	code, stdout, stderr := f.lpbuild(t.Context(), "build", "snap", "00", "a=b=c", "--arg", "n:=1")
	if code != 0 || stdout != f.request.BuildID+"\n" || !strings.HasPrefix(stdout, "LOCAL-") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if f.request.Files.Get("a") != "b=c" || f.request.Args["n"] != int64(1) {
		t.Errorf("got %+v", f.request)
	}
}

func TestEnsureServesLocalFiles(t *testing.T) {
	source(t)
	f := newFakeBuilder(t)
	sum := sha1Of([]byte("the image"))
	for _, info := range []string{"Download", "Cache"} {
		code, stdout, stderr := f.lpbuild(t.Context(), "ensure", "base.tar.gz", "base.tar.gz")
		want := sum + "  base.tar.gz\n"
		if code != 0 || stdout != want+want || !strings.Contains(stderr, "base.tar.gz: the builder has it ("+info+")\n") {
			t.Errorf("exit code %d: %q, %q", code, stdout, stderr)
		}
	}
	if string(f.cache[sum]) != "the image" {
		t.Error("the builder does not have it")
	}
}

func TestEnsureHasTheBuilderFetchURLs(t *testing.T) {
	t.Setenv("LPBUILD_PASSWORD", "secret")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		_, _ = w.Write([]byte(user + ":" + password))
	}))
	defer server.Close()
	f := newFakeBuilder(t)
	sum := sha1Of([]byte("me:secret"))
	code, stdout, stderr := f.lpbuild(t.Context(), "ensure", server.URL, "--sha1", sum, "--user", "me")
	if code != 0 || stdout != sum+"\n" {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	code, _, stderr = f.lpbuild(t.Context(), "ensure", server.URL, "--sha1", "00")
	if code != 1 || !strings.Contains(stderr, "Digests did not match") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestABuilderElsewhereNeedsAnAddress(t *testing.T) {
	tests := []struct {
		url  string
		here bool
	}{
		{"http://127.0.0.1:8221", true},
		{"http://localhost:8221/rpc", true},
		{"http://[::1]:8221", true},
		{"http://192.0.2.1:8221", false},
		{"http://builder.example", false},
		{"://", false},
	}
	for _, tt := range tests {
		if got := builderIsHere(tt.url); got != tt.here {
			t.Errorf("%s: got %v", tt.url, got)
		}
	}
	err := (&app{out: newPrinter(nil, nil)}).given(localFile{name: "x"}, buildd.Presence{Info: "No URL"}, "")
	if err == nil || !strings.Contains(err.Error(), "--serve-address") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	defer server.Close()
	tests := []struct {
		name, url string
		want      []string
	}{
		{"nobody listens", closed.URL, []string{"connection refused; is lpbuildd running?", "lpbuildd serve", "LPBUILD_URL"}},
		{"another server", server.URL, []string{"404 Not Found"}},
		{"no URL", "localhost", []string{"cannot use builder URL", "LPBUILD_URL"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("LPBUILD_URL", tt.url)
			var stdout, stderr strings.Builder
			if code := run(t.Context(), []string{"status"}, &stdout, &stderr); code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in %q", want, stderr.String())
				}
			}
		})
	}
}

func TestEveryCommandIsThere(t *testing.T) {
	var names []string
	for _, cmd := range (&app{out: newPrinter(os.Stdout, os.Stderr)}).command().Commands() {
		if !cmd.Hidden {
			names = append(names, cmd.Name())
		}
	}
	if want := []string{"abort", "build", "clean", "ensure", "fetch", "info", "run", "status", "watch"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}
