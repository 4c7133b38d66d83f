package backendtest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
)

// running starts a command and waits for its first line. The channel gets the result
// of its Run.
func running(ctx context.Context, t *testing.T, target backends.Target, cmd backends.Command) <-chan error {
	t.Helper()
	said := newSignalWriter()
	cmd.Stdout = said
	result := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		result <- target.Run(ctx, cmd)
		close(ended)
	}()
	wait(t, "the command starts", said.seen)
	t.Cleanup(func() { wait(t, "the command ends", ended) })
	return result
}

// bomb multiplies until the limit of processes, without end: should its branches
// be killed before the trunk, that fails.
const bomb = `echo started; exec >/dev/null 2>&1
f() { while :; do setsid sh -c 'sleep 1000' & n=$((n+1)); [ $n -gt 150 ] && { wait; n=0; }; done; }
f & f & f & f & wait; false`

func testKilling(t *testing.T, factory Factory) {
	target := started(t, factory)
	t.Run("nothing to kill is fine", func(t *testing.T) { check(t, target.KillProcesses(t.Context())) })
	t.Run("cancelling kills the command and gives its cause", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		want := errors.New("enough")
		result := running(ctx, t, target, shell("trap '' TERM INT HUP; echo started; sleep 3600 & while :; do sleep 3600; done"))
		cancel(want)
		if err := <-result; !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		nothingRuns(t, target)
	})
	t.Run("an ended context runs nothing", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		want := errors.New("enough")
		cancel(want)
		if err := target.Run(ctx, shell("echo >/tmp/ran")); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		if ran, err := backends.Exists(t.Context(), target, "/tmp/ran"); ran || err != nil {
			t.Errorf("it ran; %v", err)
		}
	})
	t.Run("running commands are killed from elsewhere", func(t *testing.T) {
		result := running(t.Context(), t, target, shell("echo started; sleep 3600; echo not reached"))
		check(t, target.KillProcesses(t.Context()))
		wantCode(t, <-result, 137)
	})
	t.Run("daemons and stopped processes are killed", func(t *testing.T) {
		output(t, target, "for i in 1 2 3; do setsid sleep 3600 </dev/null >/dev/null 2>&1 & done;"+
			"setsid sh -c 'kill -STOP $$' </dev/null >/dev/null 2>&1 &")
		check(t, target.KillProcesses(t.Context()))
		nothingRuns(t, target)
	})
	t.Run("a fork bomb is killed", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		result := running(t.Context(), t, target, shell(bomb))
		check(t, target.KillProcesses(ctx))
		nothingRuns(t, target)
		if err := <-result; err == nil {
			t.Error("the bomb ended without error")
		}
	})
	t.Run("the target works afterwards", func(t *testing.T) {
		if got := output(t, target, "echo fine"); got != "fine\n" {
			t.Errorf("got %q", got)
		}
	})
}

// nothingRuns looks for processes of this suite by their arguments.
func nothingRuns(t *testing.T, target backends.Target) {
	t.Helper()
	// A dead process has an empty cmdline.
	got := output(t, target, `for p in /proc/[0-9]*; do [ "$p" = "/proc/$$" ] && continue; [ "$p/root" -ef / ] || continue;`+
		` tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -E 'sleep (1000|3600)'; done; true`)
	if got != "" {
		t.Errorf("still running: %s", got)
	}
}

func testLifecycle(t *testing.T, factory Factory) {
	t.Run("stop and remove come twice", func(t *testing.T) {
		target := started(t, factory)
		takeAway(t, target)
		takeAway(t, target)
	})
	t.Run("stop and remove come without create", func(t *testing.T) {
		target, _ := factory(t)
		takeAway(t, target)
	})
	t.Run("stop and remove come without start", func(t *testing.T) {
		target, image := factory(t)
		check(t, target.Create(t.Context(), image))
		takeAway(t, target)
	})
	t.Run("a failed create is removed", func(t *testing.T) {
		target, image := factory(t)
		image.Path += ".missing"
		image.SHA1 = strings.Repeat("0", 40)
		if err := target.Create(t.Context(), image); err == nil {
			t.Error("it succeeded")
		}
		takeAway(t, target)
	})
	t.Run("an unknown type of image is refused", func(t *testing.T) {
		target, image := factory(t)
		image.Type = "nosuchtype"
		if err := target.Create(t.Context(), image); err == nil || !strings.Contains(err.Error(), "nosuchtype") {
			t.Errorf("got %v", err)
		}
		takeAway(t, target)
	})
	t.Run("an aborted create is removed", func(t *testing.T) {
		target, image := factory(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		want := errors.New("enough")
		cancel(want)
		if err := target.Create(ctx, image); err != nil && !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		takeAway(t, target)
	})
	t.Run("changes of one build are not seen by the next", func(t *testing.T) {
		target := started(t, factory)
		output(t, target, "echo x >/etc/mine; rm /usr/bin/seq; chmod 700 /home; mv /build /moved")
		takeAway(t, target)
		next := started(t, factory)
		if got := output(t, next, "ls /etc/mine 2>/dev/null; stat -c %a /home; ls -d /build; seq 1"); got != "755\n/build\n1\n" {
			t.Errorf("got %q", got)
		}
	})
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
