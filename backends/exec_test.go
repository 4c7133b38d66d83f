package backends

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/verdict"
)

func sh(script string) Command { return Command{Argv: []string{"/bin/sh", "-c", script}} }

func hostOutput(t *testing.T, h Host, cmd Command) string {
	t.Helper()
	out, err := Output(t.Context(), h, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestHostExitCodes(t *testing.T) {
	for script, want := range map[string]int{"exit 1": 1, "exit 255": 255, "kill -9 $$": 137, "kill -TERM $$": 143} {
		var exit *ExitError
		if err := (Host{}).Run(t.Context(), sh(script)); !errors.As(err, &exit) || exit.Code != want {
			t.Errorf("%s: got %v, want code %d", script, err, want)
		}
	}
	if err := (Host{}).Run(t.Context(), sh("exit 0")); err != nil {
		t.Errorf("success: %v", err)
	}
}

func TestHostEnvironmentIsExplicit(t *testing.T) {
	t.Setenv("LEAK", "yes")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(me.Uid, 10, 32)
	h := Host{Home: "/somewhere", User: "someone", UID: uint32(uid)}
	cmd := Command{Argv: []string{"env"}, Env: []string{"B=2", "A=1", "B=3"}}
	want := "PATH=" + SearchPath + "\nHOME=/somewhere\nUSER=someone\nLOGNAME=someone\nA=1\nB=3\n"
	if got := hostOutput(t, h, cmd); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := hostOutput(t, Host{}, Command{Argv: []string{"env"}}); got != "PATH="+SearchPath+"\nHOME=/root\n" {
		t.Errorf("zero value: got %q", got)
	}
}

func TestHostDirectories(t *testing.T) {
	dir := t.TempDir()
	pwd := Command{Argv: []string{"pwd"}}
	if got := hostOutput(t, Host{}, pwd); got != "/\n" {
		t.Errorf("zero value: ran in %q", got)
	}
	if got := hostOutput(t, Host{Dir: dir}, pwd); got != dir+"\n" {
		t.Errorf("runner's: ran in %q", got)
	}
	pwd.Dir = "/usr"
	if got := hostOutput(t, Host{Dir: dir}, pwd); got != "/usr\n" {
		t.Errorf("command's: ran in %q", got)
	}
}

func TestHostRunsAsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	h := Host{User: "nobody", UID: 65534, GID: 65533, Groups: []uint32{65532}}
	if got := hostOutput(t, h, sh("id -u; id -G")); got != "65534\n65533 65532\n" {
		t.Errorf("got %q", got)
	}
}

func TestHostFindsProgramsInItsOwnPath(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "sometool")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\necho \"$0 $PATH\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var fault *verdict.HostFault
	if err := (Host{}).Run(t.Context(), Command{Argv: []string{"sometool"}}); !errors.As(err, &fault) || !strings.Contains(fault.Advice, "sometool") {
		t.Errorf("in our PATH only: got %v", err)
	}
	h := Host{Path: "/nowhere:" + dir}
	if got := hostOutput(t, h, Command{Argv: []string{"sometool"}}); got != tool+" "+h.Path+"\n" {
		t.Errorf("got %q", got)
	}
}

func TestHostStartErrors(t *testing.T) {
	for name, cmd := range map[string]Command{
		"empty command":     {},
		"missing program":   {Argv: []string{"/no/such/program"}},
		"missing directory": {Argv: []string{"true"}, Dir: "/no/such/dir"},
	} {
		var exit *ExitError
		if err := (Host{}).Run(t.Context(), cmd); err == nil || errors.As(err, &exit) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// slowWriter writes nothing before a pipe has been opened and closed.
type slowWriter struct {
	bytes.Buffer
	pipe string
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		if _, err := os.ReadFile(w.pipe); err != nil {
			return 0, err
		}
	}
	return w.Buffer.Write(p)
}

// What the command itself wrote arrives, however long it takes after its end.
func TestHostOutputSurvivesASlowWriter(t *testing.T) {
	dir := fifos(t, "ends")
	out := &slowWriter{pipe: filepath.Join(dir, "ends")}
	cmd := sh("echo first; seq 1 10000; sleep 1000006 & echo $!; exec 9>ends") // which is open until the shell has ended
	cmd.Dir, cmd.Stdout = dir, out
	h := Host{Grace: time.Millisecond}
	if err := h.Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.HasPrefix(got, "first\n1\n") || !strings.Contains(got, "\n9999\n10000\n") {
		t.Errorf("got %d bytes, ending in %q", len(got), got[max(0, len(got)-20):])
	}
	_ = h.Run(t.Context(), Command{Argv: []string{"kill", got[strings.LastIndexByte(strings.TrimSpace(got), '\n')+1 : len(got)-1]}})
}

func TestHostOutputToFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cmd := sh("echo 1; echo 2 >&2")
	cmd.Stdout, cmd.Stderr = f, f
	if err := (Host{}).Run(t.Context(), cmd); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(f.Name()); err != nil || string(data) != "1\n2\n" {
		t.Errorf("got %q, %v", data, err)
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

func TestHostNamesTheErrorOfAWriter(t *testing.T) {
	want := errors.New("disk is gone")
	cmd := sh("while :; do echo again; done")
	cmd.Stdout = brokenWriter{want}
	if err := (Host{}).Run(t.Context(), cmd); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestHostInputErrors(t *testing.T) {
	want := errors.New("source is gone")
	cmd := Command{Argv: []string{"cat"}, Stdin: io.MultiReader(strings.NewReader("x"), brokenReader{want})}
	if err := (Host{}).Run(t.Context(), cmd); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestHostCancelKillsTheGroup(t *testing.T) {
	want := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := io.Pipe()
	cmd := sh("trap '' TERM; sleep 1000 & echo started; wait; sleep 1000")
	cmd.Stdout = w
	result := make(chan error, 1)
	go func() { result <- Host{}.Run(ctx, cmd) }()
	buf := make([]byte, 8)
	if _, err := r.Read(buf); err != nil {
		t.Fatal(err)
	}
	cancel(want)
	if err := <-result; !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if err := (Host{}).Run(ctx, sh("exit 3")); !errors.Is(err, want) {
		t.Errorf("afterwards: got %v", err)
	}
}
