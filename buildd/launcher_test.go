package buildd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pipes makes named pipes in a folder for the helpers.
func pipes(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		check(t, unix.Mkfifo(filepath.Join(dir, name), 0o600))
	}
	return dir
}

// readPipe waits for what somebody writes.
func readPipe(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return strings.TrimSpace(string(data))
}

// TestOnlyACleanUpIsWaitedForAfterItsTime: a child of root's, which nobody may
// kill, goes on in the folder of the build.
func TestOnlyACleanUpIsWaitedForAfterItsTime(t *testing.T) {
	goesOn := []string{"sh", "-c", `(echo $$ >begun; read x <finish; >ended; echo >over) & wait`}
	for name, c := range map[string]struct {
		wait  time.Duration
		waits bool
	}{
		"clean-up": {0, true},
		"trash":    {time.Nanosecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := pipes(t, "begun", "finish", "over")
			there := func(name string) bool { _, err := os.Lstat(filepath.Join(dir, name)); return err == nil }
			finish := func() { check(t, os.WriteFile(filepath.Join(dir, "finish"), []byte("\n"), 0o600)) }
			ctx, cancel := context.WithCancelCause(t.Context())
			result := make(chan error, 1)
			go func() { result <- await(ctx, dir, goesOn, "", c.wait) }()
			var pid int
			if _, err := fmt.Sscan(readPipe(t, filepath.Join(dir, "begun")), &pid); err != nil {
				t.Fatal(err)
			}
			helper, err := unix.PidfdOpen(pid, 0)
			check(t, err)
			cancel(errors.New("its time is up"))
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(helper), Events: unix.POLLIN}}, -1)
			check(t, errors.Join(err, unix.Close(helper)))
			if c.waits {
				finish()
				readPipe(t, filepath.Join(dir, "over"))
			}
			err = <-result
			if err == nil || there("ended") != c.waits {
				t.Errorf("%v, its child has ended: %v", err, there("ended"))
			}
			if !c.waits {
				finish()
				readPipe(t, filepath.Join(dir, "over"))
			}
		})
	}
}

// TestHelpersAreWhatTheyAreCalled: which command is which, where it works, and what it
// is told.
func TestHelpersAreWhatTheyAreCalled(t *testing.T) {
	t.Setenv("SUDO_UID", "12345")
	t.Setenv("KEPT", "yes")
	dir := t.TempDir()
	note := func(name string) []string {
		return []string{"sh", "-c", fmt.Sprintf("cat >%s; env >%s.env", name, name)}
	}
	l := Launcher{Cleanup: note("cleanup"), Trash: note("trash")}
	check(t, l.CleanUp(t.Context(), dir))
	check(t, l.EmptyTrash(t.Context(), dir, 123))
	for name, want := range map[string]string{"cleanup": "", "trash": "123"} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		if string(got) != want {
			t.Errorf("%s was told %q", name, got)
		}
		env, err := os.ReadFile(filepath.Join(dir, name+".env"))
		check(t, err)
		if strings.Contains(string(env), "SUDO_") || !strings.Contains(string(env), "KEPT=yes") {
			t.Errorf("%s has the environment %s", name, env)
		}
	}
	l = Launcher{Cleanup: []string{"sh", "-c", "echo a mount is stuck >&2; false"}}
	if err := l.CleanUp(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "exit status 1: a mount is stuck") {
		t.Errorf("a clean-up that fails: %v", err)
	}
}

func TestHelpersDoNotInheritWhatIsForThisProcess(t *testing.T) {
	t.Setenv("SUDO_UID", "1")
	t.Setenv("NOTIFY_SOCKET", "/nowhere")
	t.Setenv("WATCHDOG_PID", "1")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("http_proxy", "http://192.0.2.1")
	got := environment()
	for _, kv := range []string{"SUDO_UID=1", "NOTIFY_SOCKET=/nowhere", "WATCHDOG_PID=1", "WATCHDOG_USEC=1"} {
		if slices.Contains(got, kv) {
			t.Errorf("helpers get %s", kv)
		}
	}
	if !slices.Contains(got, "http_proxy=http://192.0.2.1") {
		t.Error("helpers lose what is for them")
	}
}

// TestASupervisorCanBeConnectedToForAsLongAsItLives, from before its start on. The
// socket's path is longer than the kernel's limit.
func TestASupervisorCanBeConnectedToForAsLongAsItLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	check(t, os.Mkdir(dir, 0o700))
	check(t, unix.Mkfifo(filepath.Join(dir, "finish"), 0o600))
	l := Launcher{Supervise: []string{"sh", "-c", "read x <finish; exit 3"}}
	if _, err := l.Connect(t.Context(), dir); !errors.Is(err, errNoSupervisor) {
		t.Errorf("without a supervisor: %v", err)
	}
	ended := make(chan error, 1)
	check(t, l.StartSupervisor(t.Context(), dir, func(err error) { ended <- err }))
	conn, err := l.Connect(t.Context(), dir)
	check(t, err)
	if info, err := os.Stat(filepath.Join(dir, "socket")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	check(t, os.WriteFile(filepath.Join(dir, "finish"), []byte("\n"), 0o600))
	if err := <-ended; err == nil || err.Error() != "exit status 3" {
		t.Errorf("it ended with %v", err)
	}
	if _, err := bufio.NewReader(conn).ReadByte(); err == nil {
		t.Error("a connection outlives it")
	}
	check(t, conn.Close())
	if _, err := l.Connect(t.Context(), dir); !errors.Is(err, errNoSupervisor) {
		t.Errorf("after its end: %v", err)
	}
	l.Supervise = []string{"/nonexistent/sudo"}
	check(t, os.Remove(filepath.Join(dir, "socket")))
	if err := l.StartSupervisor(t.Context(), dir, nil); err == nil || !strings.Contains(err.Error(), "cannot start the supervisor") {
		t.Errorf("one that is not there: %v", err)
	}
	if _, err := l.Connect(t.Context(), dir); err == nil {
		t.Error("a socket without a supervisor can be connected to")
	}
}
