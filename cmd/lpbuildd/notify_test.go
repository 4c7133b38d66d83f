package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/client"
)

// systemd is the other end of NOTIFY_SOCKET. The watchdog wants a word every
// interval.
func systemd(t *testing.T, interval time.Duration) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(interval.Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", "")
	return conn
}

// told waits for the next message that begins so.
func told(t *testing.T, conn *net.UnixConn, prefix string) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4096)
	for {
		n, err := conn.Read(data)
		if err != nil {
			t.Fatalf("waiting for %s: %v", prefix, err)
		}
		if text := string(data[:n]); strings.HasPrefix(text, prefix) {
			return text
		}
	}
}

func startNotifier(t *testing.T, status func(context.Context) (buildd.Status, error)) (n *notifier, stop func()) {
	t.Helper()
	n = newNotifier(slog.New(slog.DiscardHandler))
	n.status = status
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.run(ctx)
	}()
	stop = func() {
		cancel(nil)
		<-done
	}
	t.Cleanup(stop)
	return n, stop
}

func TestNotifierTellsStateAndEnd(t *testing.T) {
	conn := systemd(t, time.Hour)
	var now atomic.Pointer[buildd.Status]
	now.Store(&buildd.Status{State: buildd.Idle})
	n, stop := startNotifier(t, func(context.Context) (buildd.Status, error) { return *now.Load(), nil })
	if got := told(t, conn, ""); got != "READY=1\nSTATUS=IDLE" {
		t.Errorf("at the start: %q", got)
	}
	now.Store(&buildd.Status{State: buildd.Building, BuildID: "B-1"})
	n.changed()
	n.changed()
	if got := told(t, conn, ""); got != "STATUS=BUILDING B-1" {
		t.Errorf("after a change: %q", got)
	}
	n.reloading()
	if got := told(t, conn, "RELOADING"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("at a reload: %q", got)
	}
	stop()
	told(t, conn, "STOPPING=1")
}

func TestWatchdogIsFedWithAnswersOnly(t *testing.T) {
	conn := systemd(t, 2*time.Millisecond)
	calls, enough := 0, make(chan struct{})
	_, stop := startNotifier(t, func(context.Context) (buildd.Status, error) {
		calls++
		switch {
		case calls == 3:
			return buildd.Status{State: buildd.Idle, Drained: "drained"}, nil
		case calls < 3: // the first is for READY=1
			return buildd.Status{State: buildd.Idle}, nil
		case calls == 10:
			close(enough)
		}
		return buildd.Status{}, io.ErrUnexpectedEOF
	})
	<-enough
	stop()
	var got []string
	for len(got) == 0 || got[len(got)-1] != "STOPPING=1" {
		got = append(got, told(t, conn, ""))
	}
	if want := []string{"READY=1\nSTATUS=IDLE", "WATCHDOG=1\nSTATUS=IDLE", "WATCHDOG=1\nSTATUS=IDLE, drained", "STOPPING=1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNobodyIsNotifiedWithoutSystemd(t *testing.T) {
	conn := systemd(t, time.Millisecond)
	t.Setenv("NOTIFY_SOCKET", "")
	_, stop := startNotifier(t, func(context.Context) (buildd.Status, error) { return buildd.Status{State: buildd.Idle}, nil })
	stop()
	if err := conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 64)); err == nil {
		t.Errorf("%d bytes came", n)
	}
}

// reporter is a builder that answers status.
type reporter struct {
	panics bool
	broken string        // why it takes no builds
	told   *atomic.Int32 // counts what managers hear
}

func (reporter) Info() buildd.Info { return buildd.Info{} }

func (r reporter) Told(buildd.Status) { r.told.Add(1) }

func (r reporter) Status() buildd.Status {
	if r.panics {
		panic("broken")
	}
	if r.broken != "" {
		return buildd.Status{State: buildd.Idle, Drained: r.broken}
	}
	return buildd.Status{State: buildd.Waiting, BuildID: "B-2", Outcome: "OK"}
}

func (reporter) ProxyInfo() (buildd.ProxyInfo, error) { return buildd.ProxyInfo{}, nil }

// TestWhatTheDaemonAsksItselfNoManagerHears: only an answer to a manager begins the
// time in which a drained builder tells of a loss.
func TestWhatTheDaemonAsksItselfNoManagerHears(t *testing.T) {
	told := &atomic.Int32{}
	handler := rpc.NewServer(reporter{told: told}, nil, http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	own, err := ask(handler)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own(t.Context()); err != nil || told.Load() != 0 {
		t.Errorf("asked by the daemon: %v, told %d times", err, told.Load())
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	manager, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if _, err := manager.Status(t.Context()); err != nil || told.Load() != 1 {
		t.Errorf("asked by a manager: %v, told %d times", err, told.Load())
	}
}

// TestABuilderWhoseDiskIsBrokenIsNotRestarted: that would not help, and after a few
// times systemd gives up on it for good.
func TestABuilderWhoseDiskIsBrokenIsNotRestarted(t *testing.T) {
	conn := systemd(t, 2*time.Millisecond)
	broken := reporter{broken: buildd.BrokenText + ": read-only file system", told: &atomic.Int32{}}
	own, err := ask(rpc.NewServer(broken, nil, http.NotFoundHandler(), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	startNotifier(t, own)
	if got, want := told(t, conn, "WATCHDOG=1"), "WATCHDOG=1\nSTATUS=IDLE, "+broken.broken; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAskGoesThroughTheHandler(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	tests := []struct {
		name    string
		handler http.Handler
		healthy bool
	}{
		{"a builder that works", rpc.NewServer(reporter{told: &atomic.Int32{}}, nil, http.NotFoundHandler(), log), true},
		{"a builder that panics", rpc.NewServer(reporter{panics: true, told: &atomic.Int32{}}, nil, http.NotFoundHandler(), log), false},
		{"a handler that answers something else", http.NotFoundHandler(), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, err := ask(tt.handler)
			if err != nil {
				t.Fatal(err)
			}
			s, err := status(t.Context())
			if healthy := err == nil && s.BuildID == "B-2"; healthy != tt.healthy {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}
