package leftovers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/proxy"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// The token of a dead build is revoked once, and what goes wrong is no secret,
// but the token is.
func TestTheTokenOfADeadBuild(t *testing.T) {
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true); err != nil {
		t.Skipf("needs a kernel with keyrings: %v", err)
	}
	var asked, answer atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user == "user" && password == "s3cr3t" && r.Method == http.MethodDelete {
			asked.Add(1)
		}
		w.WriteHeader(int(answer.Load()))
	}))
	defer server.Close()
	for _, tt := range []struct {
		what   string
		parked bool
		answer int32
		asked  int32
		log    string
	}{
		{"is revoked", true, http.StatusNoContent, 1, ""},
		{"is not, when the service is broken", true, http.StatusInternalServerError, 1, "user=user"},
		{"cannot be, after a restart of the machine", false, http.StatusNoContent, 0, "no token is parked"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			asked.Store(0)
			answer.Store(tt.answer)
			id := proxy.ParkingID("TEST-" + t.Name())
			token := proxy.Token{UpstreamURL: "http://user:s3cr3t@proxy.test:3128", Endpoint: server.URL}
			if tt.parked {
				if err := token.Park(id); err != nil {
					t.Fatal(err)
				}
			}
			var log bytes.Buffer
			// Twice: a clean-up may be interrupted and begin again.
			ctx, interrupt := context.WithCancelCause(t.Context())
			interrupt(nil)
			revoke := (&Cleaner{Dir: state.Build(t.TempDir()), Log: slog.New(slog.NewTextHandler(&log, nil))}).undo(ctx)[ledger.Token]
			for range 2 {
				if err := revoke(id); err != nil {
					t.Error(err)
				}
			}
			said := log.String()
			if asked.Load() != tt.asked || !strings.Contains(said, tt.log) {
				t.Errorf("asked %d times, saying %s", asked.Load(), said)
			}
			_, key, _ := strings.Cut(id[strings.LastIndexByte(id, '/'):], "/")
			if strings.Contains(said, "s3cr3t") || strings.Contains(said, key) {
				t.Errorf("the log has a secret: %s", said)
			}
		})
	}
}

// A result of a dead build goes, unless the daemon presents it.
func TestResultsOfADeadBuild(t *testing.T) {
	for _, presented := range []bool{false, true} {
		dir := state.Folder(filepath.Join(t.TempDir(), "cache", ".lpbuildd")).Build()
		if err := os.MkdirAll(dir.Path(), 0o700); err != nil {
			t.Fatal(err)
		}
		cache := dir.State().Cache()
		name, other := strings.Repeat("a", 40), strings.Repeat("b", 40)
		record := filecache.Paths(name)[1]
		if err := os.MkdirAll(filepath.Dir(filepath.Join(cache, record)), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{name, other, record} {
			if err := os.WriteFile(filepath.Join(cache, file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if presented {
			if err := job.WriteOutcome(dir, job.Outcome{BuildID: "B-1", Status: "OK"}); err != nil {
				t.Fatal(err)
			}
		}
		// What was cut off, or was never a result, names nothing.
		precious := filepath.Join(filepath.Dir(cache), "precious")
		if err := os.WriteFile(precious, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		list := name + "\n../precious\n" + other[:20] + "\n" + other
		if err := os.WriteFile(dir.Results(), []byte(list), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := (&Cleaner{Dir: dir}).removeResults(); err != nil {
			t.Error(err)
		}
		for _, path := range []string{filepath.Join(cache, other), precious} {
			if _, err := os.Lstat(path); err != nil {
				t.Error(err)
			}
		}
		for _, path := range filecache.Paths(name) {
			if _, err := os.Lstat(filepath.Join(cache, path)); (err == nil) != presented {
				t.Errorf("presented %v: the result is %v", presented, err)
			}
		}
		if _, err := os.Lstat(dir.Results()); err == nil {
			t.Errorf("presented %v: the list of the results stays", presented)
		}
	}
}

// TestNobodyWaitsForAnEngineTwice: one thing in the engine that cannot be undone
// is enough to leave the others of that clean-up for the next.
func TestNobodyWaitsForAnEngineTwice(t *testing.T) {
	var calls atomic.Int32
	socket := listenAs(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		http.Error(w, "out of order", http.StatusInternalServerError)
	}))
	dir := state.Build(t.TempDir())
	if err := disk.WriteJSON(dir.Container(), job.Container{Socket: socket}); err != nil {
		t.Fatal(err)
	}
	undo := (&Cleaner{Dir: dir, Report: func(err error) { t.Error(err) }}).undo(t.Context())
	if err := undo[ledger.Container]("lp-c"); err == nil || calls.Load() == 0 {
		t.Fatalf("the container: %v, after %d calls", err, calls.Load())
	}
	asked := calls.Load()
	for _, kind := range []ledger.Kind{ledger.Profile, ledger.Network} {
		if err := undo[kind]("lp-x"); err == nil || calls.Load() != asked {
			t.Errorf("%s: %v, after %d more calls", kind, err, calls.Load()-asked)
		}
	}
}

// TestACrashAfterAContainerWasKeptLeavesItKept: then it stands in the ledger and
// among what is kept.
func TestACrashAfterAContainerWasKeptLeavesItKept(t *testing.T) {
	dir := state.Folder(t.TempDir()).Build()
	if err := os.Mkdir(dir.Path(), 0o700); err != nil {
		t.Fatal(err)
	}
	builds := kept.In(dir.State())
	id, path := builds.NewPath()
	if err := errors.Join(builds.Begin(path), builds.Commit(path, kept.Record{ID: id, Container: "lp-kept-1"})); err != nil {
		t.Fatal(err)
	}
	undo := (&Cleaner{Dir: dir, Report: func(err error) { t.Error(err) }}).undo(t.Context())
	if err := undo[ledger.Container]("lp-kept-1"); err != nil {
		t.Errorf("the kept container: %v", err)
	}
	// No engine is written down here, so that others cannot be undone.
	if err := undo[ledger.Container]("lp-kept-2"); err == nil {
		t.Error("a container of nobody's was left alone")
	}
}

// listenAs serves as a container engine and returns its socket.
func listenAs(t *testing.T, e http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(e)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return socket
}

// TestWhatNoBuildCanHaveWrittenIsRefused, whatever a ledger says.
func TestWhatNoBuildCanHaveWrittenIsRefused(t *testing.T) {
	elsewhere := filepath.Join(t.TempDir(), "build-B-1")
	file := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(os.Mkdir(elsewhere, 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	c := &Cleaner{
		Dir: state.Folder(t.TempDir()).Build(), Builder: job.Builder{Home: t.TempDir()}, Log: slog.New(slog.DiscardHandler),
		Report: func(err error) { t.Error(err) },
	}
	undo := c.undo(t.Context())
	for _, e := range []ledger.Entry{
		{Kind: ledger.Directory, Name: elsewhere},
		{Kind: ledger.File, Name: file},
		{Kind: ledger.Bridge, Name: "docker0"},
		{Kind: ledger.Container, Name: "database"},
		{Kind: ledger.Profile, Name: "default"},
		{Kind: ledger.Network, Name: "incusbr0"},
	} {
		if err := undo[e.Kind](e.Name); !errors.Is(err, ledger.ErrRefused) {
			t.Errorf("%v: %v", e, err)
		}
	}
	for _, path := range []string{elsewhere, file} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestRootBelievesItsOwnLedgerOnly, and looks for leftovers in the caller's HOME
// only.
func TestRootBelievesItsOwnLedgerOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give things to others")
	}
	for _, others := range []string{"nothing", "ledger", "home"} {
		t.Run(others, func(t *testing.T) {
			dir, home := state.Folder(t.TempDir()).Build(), t.TempDir()
			named, marked := filepath.Join(home, "build-B-1"), filepath.Join(home, "build-B-2")
			if err := errors.Join(os.Mkdir(dir.Path(), 0o700), os.Mkdir(named, 0o700), os.Mkdir(marked, 0o700), Mark(marked, dir)); err != nil {
				t.Fatal(err)
			}
			l, err := ledger.Open(dir.Ledger())
			if err := errors.Join(err, l.Add(ledger.Entry{Kind: ledger.Directory, Name: named}), l.Close(), os.Chown(home, 1, 1)); err != nil {
				t.Fatal(err)
			}
			switch others {
			case "ledger":
				err = os.Chown(dir.Ledger(), 1, 1)
			case "home":
				err = os.Chown(home, 2, 2)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("SUDO_UID", "1")
			damaged := 0
			c := &Cleaner{Dir: dir, Builder: job.Builder{Home: home}, Log: slog.New(slog.DiscardHandler), Report: func(error) { damaged++ }}
			if err := c.Clean(t.Context()); err != nil {
				t.Fatal(err)
			}
			for path, stays := range map[string]bool{named: others == "ledger", marked: others == "home"} {
				if _, err := os.Lstat(path); (err == nil) != stays {
					t.Errorf("%s: %v", path, err)
				}
			}
			if (damaged > 0) != (others == "ledger") {
				t.Errorf("%d things were damaged", damaged)
			}
		})
	}
}
