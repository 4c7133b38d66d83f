package backends

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fifos makes named pipes in a new folder, and returns the folder.
func fifos(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sleeper is a command of Perl that becomes a sleep of so many seconds, and with that
// lets go of the pipe "up", whose readers then know that there is nothing else left
// of it.
func sleeper(seconds string) string {
	return `perl -e 'open U, ">", "up"; exec "sleep", "` + seconds + `"'`
}

// withLooks runs a command while strays are looked for as often as look is called,
// each time an hour later. It returns how the command ended.
func withLooks(t *testing.T, h Host, cmd Command) (look func() (over bool), end func() error) {
	t.Helper()
	looks, done := make(chan time.Time), make(chan error, 1)
	h.looks = looks
	go func() { done <- h.Run(t.Context(), cmd) }()
	now := time.Now()
	var err error
	over := false
	look = func() bool {
		now = now.Add(time.Hour)
		select {
		case looks <- now:
		case err = <-done:
			over = true
		}
		return over
	}
	return look, func() error {
		if !over {
			err = <-done
		}
		return err
	}
}

// left is a shell that reads what a command writes up to its end, and what the
// command leaves behind.
const left = `said=$( %s ) || exit 3; echo "said $said"; exit 7`

func TestWhatHoldsTheOutputOfACommandOfACommandIsKilled(t *testing.T) {
	for _, test := range []struct{ name, stray, process string }{
		{"a process in the background", sleeper("1000001") + ` & cat up; echo this`, "sleep 1000001"},
		{"a daemon", `(setsid sh -c "` + strings.ReplaceAll(sleeper("1000002"), `"`, `\"`) + ` & exit" &); cat up; echo this`, "sleep 1000002"},
		{"one that ignores signals", `trap "" TERM HUP; ` + sleeper("1000003") + ` & cat up; echo this`, "sleep 1000003"},
		{
			"one that makes others",
			`(` + sleeper("1000004") + ` & while :; do sleep 1000004 & sleep 0.01; done) & cat up; echo this`, "sleep 1000004",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			var strays []Stray
			h := Host{Stray: func(s Stray) { strays = append(strays, s) }}
			look, end := withLooks(t, h, Command{
				Argv: []string{"sh", "-c", fmt.Sprintf(left, test.stray)}, Dir: fifos(t, "up"), Stdout: &out,
			})
			// Nothing is seen as long as the shell inside has not ended.
			for !look() {
			}
			var exit *ExitError
			if err := end(); !errors.As(err, &exit) || exit.Code != 7 || out.String() != "said this\n" {
				t.Errorf("got %v, %q", err, out.String())
			}
			if len(strays) == 0 || !strays[0].Inner || strays[0].Argv[0] != "sh" || !strings.Contains(strays[0].Held, "("+test.process+")") {
				t.Errorf("said %+v", strays)
			}
		})
	}
}

// TestNothingIsKilledWhileTheTargetWorks, however long that holds the output.
func TestNothingIsKilledWhileTheTargetWorks(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes a root directory")
	}
	dir := fifos(t, "up", "inside", "end", "endInside")
	// Both say that they live, and do so until they are told to end.
	stray := fmt.Sprintf(`(setsid perl -e 'open U, ">", "up"; close U; open E, "<", "end"; print "stray "' &)
perl -e 'chroot "%s"; $| = 1; print "at work "; open U, ">", "/inside"; close U; open E, "<", "/endInside"'`, dir)
	var out bytes.Buffer
	h := Host{Stray: func(s Stray) { t.Errorf("%+v", s) }}
	look, end := withLooks(t, h, Command{Argv: []string{"sh", "-c", fmt.Sprintf(left, stray)}, Dir: dir, Stdout: &out})
	awaitAll(t, dir, "up", "inside")
	for range 4 {
		if look() {
			t.Fatalf("ended with %v, %q", end(), out.String())
		}
	}
	tellAll(t, dir, "end", "endInside")
	if err := end(); err == nil || !strings.Contains(out.String(), "stray") || !strings.Contains(out.String(), "at work") {
		t.Errorf("got %v, %q", err, out.String())
	}
}

// TestNothingIsKilledThatACommandInTheTargetWaitsFor: a script may do its work in
// the background, and read what that says.
func TestNothingIsKilledThatACommandInTheTargetWaitsFor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes the root directory")
	}
	dir := fifos(t, "up", "end")
	script := fmt.Sprintf(`chroot "%s"; $| = 1; pipe(R, W);
if (!fork) { if (!fork) { print "at work "; open U, ">", "/up"; close U; open E, "<", "/end"; print W "late"; } exit }
close W; wait; print <R>`, dir)
	var out bytes.Buffer
	h := Host{Stray: func(s Stray) { t.Errorf("%+v", s) }}
	look, end := withLooks(t, h, Command{Argv: []string{"perl", "-e", script}, Stdout: &out})
	awaitAll(t, dir, "up")
	for range 4 {
		if look() {
			t.Fatalf("ended with %v, %q", end(), out.String())
		}
	}
	tellAll(t, dir, "end")
	if err := end(); err != nil || out.String() != "at work late" {
		t.Errorf("got %v, %q", err, out.String())
	}
}

// awaitAll waits for somebody to have opened each of the pipes, and closed it.
func awaitAll(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// tellAll lets those go on who want to read from the pipes.
func tellAll(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhoHoldsTheOutputOfACommandIsNamed(t *testing.T) {
	var out bytes.Buffer
	var strays []Stray
	h := Host{Stray: func(s Stray) { strays = append(strays, s) }, Grace: time.Millisecond}
	ctx := t.Context()
	err := h.Run(ctx, Command{
		Argv: []string{"sh", "-c", sleeper("1000005") + " & cat up; echo $!"}, Dir: fifos(t, "up"), Stdout: &out, Stderr: &out,
	})
	want := fmt.Sprintf("process %s (sleep 1000005)", strings.TrimSpace(out.String()))
	if err != nil || len(strays) != 1 || strays[0].Inner || strays[0].Held != want {
		t.Errorf("got %v, said %+v, want %s", err, strays, want)
	}
	_ = h.Run(ctx, Command{Argv: []string{"kill", strings.TrimSpace(out.String())}})
}
