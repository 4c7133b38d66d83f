// Package backendtest is run by tests, as root: it is the behaviour that every
// backend must show: a suite of tests to run against it, and a small base image to
// run it with.
package backendtest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
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

// Run runs the whole suite.
func Run(t *testing.T, factory Factory) {
	t.Helper()
	t.Run("commands", func(t *testing.T) { testCommands(t, factory) })
	t.Run("files", func(t *testing.T) { testFiles(t, factory) })
	t.Run("links", func(t *testing.T) { testLinks(t, factory) })
	t.Run("questions", func(t *testing.T) { testQuestions(t, factory) })
	t.Run("killing", func(t *testing.T) { testKilling(t, factory) })
	t.Run("life cycle", func(t *testing.T) { testLifecycle(t, factory) })
}

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

func copyIn(t *testing.T, target backends.Target, path, data string, mode fs.FileMode) {
	t.Helper()
	check(t, backends.WriteFile(t.Context(), target, path, []byte(data), mode))
}

func readFile(t *testing.T, target backends.Target, path string) string {
	t.Helper()
	data, err := backends.ReadFile(t.Context(), target, path, 1<<20)
	check(t, err)
	return string(data)
}

// signalWriter closes seen when something is written.
type signalWriter struct {
	buf  bytes.Buffer
	seen chan struct{}
}

func newSignalWriter() *signalWriter { return &signalWriter{seen: make(chan struct{})} }

// Write implements io.Writer.
func (w *signalWriter) Write(p []byte) (int, error) {
	if w.buf.Len() == 0 && len(p) > 0 {
		close(w.seen)
	}
	return w.buf.Write(p)
}

// wait waits for a channel to be closed.
func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: still not after %v", what, patience)
	}
}
