package notify

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/client"
)

// systemd is what hears a notifier.
type systemd struct {
	*Notifier
	stop func()

	mu     sync.Mutex // guards what follows
	heard  []string
	deaf   error // what to say of it instead of hearing it
	status buildd.Status
	err    error
}

// listen runs a notifier in a bubble, of an idle builder. The watchdog wants a
// word every interval.
func listen(t *testing.T, interval time.Duration) *systemd {
	t.Helper()
	s := &systemd{Notifier: New(slog.New(slog.DiscardHandler)), status: buildd.Status{State: buildd.Idle}}
	s.interval = interval
	s.Ask(func(context.Context) (buildd.Status, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.status, s.err
	})
	s.send = func(state string) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.deaf == nil {
			s.heard = append(s.heard, state)
		}
		return s.deaf
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.stop = func() {
		cancel(nil)
		synctest.Wait()
	}
	go s.Run(ctx)
	return s
}

// told is what was said since the last call, once nothing more is to be said now.
func (s *systemd) told() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := s.heard
	s.heard = nil
	return heard
}

// is makes the builder answer so from now on.
func (s *systemd) is(status buildd.Status, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.err = status, err
}

func TestNotifierTellsStateAndEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, 0)
		if got := s.told(); !slices.Equal(got, []string{"READY=1\nSTATUS=IDLE"}) {
			t.Errorf("at the start: %q", got)
		}
		s.is(buildd.Status{State: buildd.Building, BuildID: "B-1"}, nil)
		s.Changed()
		if got := s.told(); !slices.Equal(got, []string{"STATUS=BUILDING B-1"}) {
			t.Errorf("after a change: %q", got)
		}
		s.Reloading()
		if got := s.told(); len(got) != 1 || !strings.HasPrefix(got[0], "RELOADING=1\nMONOTONIC_USEC=") {
			t.Errorf("at a reload: %q", got)
		}
		s.stop()
		if got := s.told(); !slices.Equal(got, []string{"STOPPING=1"}) {
			t.Errorf("at the end: %q", got)
		}
	})
}

func TestChangedDoesNotWait(*testing.T) {
	n := New(slog.New(slog.DiscardHandler))
	for range 3 { // nobody runs
		n.Changed()
	}
}

func TestWatchdogIsFedWithAnswersOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval = 10 * time.Second
		s := listen(t, interval)
		s.told()
		half := func() []string {
			<-time.After(interval / 2)
			return s.told()
		}
		if got := half(); !slices.Equal(got, []string{"WATCHDOG=1\nSTATUS=IDLE"}) {
			t.Errorf("after half of the interval: %q", got)
		}
		s.is(buildd.Status{State: buildd.Idle, Drained: "drained"}, nil)
		if got := half(); !slices.Equal(got, []string{"WATCHDOG=1\nSTATUS=IDLE, drained"}) {
			t.Errorf("of a drained builder: %q", got)
		}
		s.is(buildd.Status{}, io.ErrUnexpectedEOF)
		if got := half(); len(got) > 0 {
			t.Errorf("without an answer: %q", got)
		}
		s.is(buildd.Status{State: buildd.Idle}, nil)
		if got := half(); len(got) != 1 {
			t.Errorf("when it answers again: %q", got)
		}
		s.stop()
	})
}

func TestAFailureToTellIsNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, 0)
		s.told()
		for _, deaf := range []error{errors.New("the socket is gone"), nil} {
			s.mu.Lock()
			s.deaf = deaf
			s.mu.Unlock()
			s.Changed()
			if got := s.told(); (len(got) == 1) != (deaf == nil) {
				t.Errorf("%v: heard %q", deaf, got)
			}
		}
		s.stop()
	})
}

// TestNotificationsGoToTheSocketOfTheEnvironment: New knows what systemd says there.
func TestNotificationsGoToTheSocketOfTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", "")
	n := New(slog.New(slog.DiscardHandler))
	if n.interval != 3*time.Second {
		t.Errorf("the interval is %s", n.interval)
	}
	n.Reloading()
	data := make([]byte, 4096)
	if size, err := conn.Read(data); err != nil || !strings.HasPrefix(string(data[:size]), "RELOADING=1\n") {
		t.Errorf("got %q, %v", data[:size], err)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	n.Reloading()
	if err := conn.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if size, err := conn.Read(data); err == nil {
		t.Errorf("without a socket %d bytes came", size)
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
	own, err := Asker(handler)
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
	broken := reporter{broken: buildd.BrokenText + ": read-only file system", told: &atomic.Int32{}}
	own, err := Asker(rpc.NewServer(broken, nil, http.NotFoundHandler(), slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := listen(t, 10*time.Second)
		s.told()
		s.is(own(t.Context()))
		<-time.After(5 * time.Second)
		if got, want := s.told(), "WATCHDOG=1\nSTATUS=IDLE, "+broken.broken; !slices.Equal(got, []string{want}) {
			t.Errorf("got %q, want %q", got, want)
		}
		s.stop()
		synctest.Wait()
	})
}

func TestAskerGoesThroughTheHandler(t *testing.T) {
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
			status, err := Asker(tt.handler)
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
