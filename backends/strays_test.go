package backends_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
)

// left is a shell that reads what a command writes up to its end, and what the
// command leaves behind.
const left = `said=$( %s ) || exit 3; echo "said $said"; exit 7`

func TestWhatHoldsTheOutputOfACommandOfACommandIsKilled(t *testing.T) {
	for _, test := range []struct{ name, stray, process string }{
		{"a process in the background", `sleep 1000001 & echo this`, "sleep 1000001"},
		{"a daemon", `(setsid sh -c "sleep 1000002 & exit" &); echo this`, "sleep 1000002"},
		{"one that ignores signals", `trap "" TERM HUP; sleep 1000003 & echo this`, "sleep 1000003"},
		{"one that makes others", `sh -c "while :; do sleep 1000004 & sleep 0.01; done" & echo this`, "sleep 1000004"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			var strays []backends.Stray
			h := backends.Host{Stray: func(s backends.Stray) { strays = append(strays, s) }, StrayGrace: 300 * time.Millisecond}
			err := h.Run(t.Context(), backends.Command{Argv: []string{"sh", "-c", fmt.Sprintf(left, test.stray)}, Stdout: &out})
			var exit *backends.ExitError
			if !errors.As(err, &exit) || exit.Code != 7 || out.String() != "said this\n" {
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
	dir := t.TempDir()
	// Both live until a file is there, which they look for from inside.
	stray := fmt.Sprintf(`(setsid perl -e 'select(undef, undef, undef, 0.01) until -e "%[1]s/end"; print "stray "' &)
perl -e 'chroot "%[1]s"; print "at work "; $| = 1; select(undef, undef, undef, 0.01) until -e "/end"'`, dir)
	h := backends.Host{Stray: func(s backends.Stray) { t.Errorf("%+v", s) }, StrayGrace: 10 * time.Millisecond}
	var out bytes.Buffer
	done := make(chan error)
	go func() {
		done <- h.Run(t.Context(), backends.Command{Argv: []string{"sh", "-c", fmt.Sprintf(left, stray)}, Stdout: &out})
	}()
	// Many times the grace, but what is waited for is that nothing happens.
	select {
	case err := <-done:
		t.Fatalf("ended with %v, %q", err, out.String())
	case <-time.After(300 * time.Millisecond):
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil || !strings.Contains(out.String(), "stray") || !strings.Contains(out.String(), "at work") {
		t.Errorf("got %v, %q", err, out.String())
	}
}

// TestNothingIsKilledThatACommandInTheTargetWaitsFor: a script may do its work in
// the background, and read what that says.
func TestNothingIsKilledThatACommandInTheTargetWaitsFor(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: changes the root directory")
	}
	dir := t.TempDir()
	script := fmt.Sprintf(`chroot "%s"; $| = 1; pipe(R, W);
if (!fork) { if (!fork) { print "at work "; select(undef, undef, undef, 0.01) until -e "/end"; print W "late"; } exit }
close W; wait; print <R>`, dir)
	h := backends.Host{Stray: func(s backends.Stray) { t.Errorf("%+v", s) }, StrayGrace: 10 * time.Millisecond}
	var out bytes.Buffer
	done := make(chan error)
	go func() {
		done <- h.Run(t.Context(), backends.Command{Argv: []string{"perl", "-e", script}, Stdout: &out})
	}()
	// Many times the grace, but what is waited for is that nothing happens.
	select {
	case err := <-done:
		t.Fatalf("ended with %v, %q", err, out.String())
	case <-time.After(300 * time.Millisecond):
	}
	if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || out.String() != "at work late" {
		t.Errorf("got %v, %q", err, out.String())
	}
}

func TestWhoHoldsTheOutputOfACommandIsNamed(t *testing.T) {
	var out bytes.Buffer
	var strays []backends.Stray
	h := backends.Host{Stray: func(s backends.Stray) { strays = append(strays, s) }, Grace: time.Millisecond}
	ctx := t.Context()
	err := h.Run(ctx, backends.Command{Argv: []string{"sh", "-c", "sleep 1000005 & echo $!"}, Stdout: &out, Stderr: &out})
	want := fmt.Sprintf("process %s (sleep 1000005)", strings.TrimSpace(out.String()))
	if err != nil || len(strays) != 1 || strays[0].Inner || strays[0].Held != want {
		t.Errorf("got %v, said %+v, want %s", err, strays, want)
	}
	_ = h.Run(ctx, backends.Command{Argv: []string{"kill", strings.TrimSpace(out.String())}})
}
