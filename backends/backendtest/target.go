package backendtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"lpbuildd/backends"
)

// patience is how long a test waits for what must happen; only failures take
// that long.
const patience = 5 * time.Minute

// Factory makes a target that was not created yet, of its own folder, and the
// image to create it from. It must bring a POSIX shell and the core tools (see
// MiniImage). The suite removes the target.
type Factory func(t *testing.T) (backends.Lifecycle, backends.Image)

// started is a target that runs, and is taken away after the test.
func started(t *testing.T, factory Factory) backends.Lifecycle {
	t.Helper()
	target, image := factory(t)
	t.Cleanup(func() { takeAway(t, target) })
	check(t, target.Create(t.Context(), image))
	check(t, target.Start(t.Context()))
	return target
}

// takeAway is what always comes after a build.
func takeAway(t *testing.T, target backends.Lifecycle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	for _, err := range []error{target.KillProcesses(ctx), target.Stop(ctx), target.Remove(ctx)} {
		if err != nil {
			t.Errorf("cannot take the target away: %v", err)
		}
	}
}

// shell is a command of the shell.
func shell(script string) backends.Command {
	return backends.Command{Argv: []string{"sh", "-c", script}}
}

// output runs a shell script and returns what it prints.
func output(t *testing.T, target backends.Target, script string) string {
	t.Helper()
	out, err := backends.Output(t.Context(), target, shell(script))
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var exit *backends.ExitError
	if !errors.As(err, &exit) || exit.Code != code {
		t.Errorf("got error %v, want exit code %d", err, code)
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
