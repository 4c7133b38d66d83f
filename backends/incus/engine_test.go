package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/buildd/verdict"
)

// listen serves as an engine on a socket of its own.
func listen(t *testing.T, kind string, handler http.HandlerFunc) Config {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(introduced(kind, handler))
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return Config{Socket: socket}.withDefaults()
}

// introduced says who it is, and leaves the rest to the handler.
func introduced(kind string, handler http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/1.0" {
			handler(w, r)
			return
		}
		_, _ = fmt.Fprintf(w, `{"type": "sync", "metadata": {"auth": "trusted", "api_extensions": ["instances", "storage"],
			"environment": {"server": %q, "driver": "lxc | qemu", "driver_version": "5.0.2 | 8.0"}}}`, kind)
	})
}

// pipes is a listener in memory, for tests that have their own time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// inMemory is connected to an engine without a network. It must be called in a
// synctest bubble.
func inMemory(t *testing.T, kind string, handler http.HandlerFunc) *server {
	t.Helper()
	p := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := &http.Server{Handler: introduced(kind, handler)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(p) // ends with Close
	}()
	dial := func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		p.conns <- far
		return near, nil
	}
	base := newTransport(&http.Transport{DialContext: dial, DialTLSContext: dial})
	t.Cleanup(func() {
		base.base.CloseIdleConnections()
		_ = srv.Close()
		<-done
	})
	conn, err := client.ConnectIncusHTTPWithContext(t.Context(), &client.ConnectionArgs{SkipGetEvents: true, SkipGetServer: true}, &http.Client{Transport: base})
	if err != nil {
		t.Fatal(err)
	}
	s, err := introduce(t.Context(), Config{}.withDefaults(), "memory", conn, base)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// hang answers nothing until the test ends or the client goes.
func hang(t *testing.T) http.HandlerFunc {
	t.Helper()
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}
}

func mustConnect(t *testing.T, cfg Config) *server {
	t.Helper()
	s, err := connect(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wantFault(t *testing.T, err error, text string) {
	t.Helper()
	var fault *verdict.HostFault
	if !errors.As(err, &fault) || fault.Advice == "" || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want the host's fault with %q", err, text)
	}
}

func TestAnEngineThatHangsIsTheHostsFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, LXD, hang(t))
		start := time.Now()
		took := func(what string, want time.Duration) {
			t.Helper()
			if got := time.Since(start); got != want {
				t.Errorf("%s: it was given up after %v, not %v", what, got, want)
			}
			start = time.Now()
		}
		wantFault(t, halt(t.Context(), s, "c"), "no use of LXD: no answer in time")
		took("a call", callTime)
		_, err := s.wait(t.Context(), "do it", "1234", noDeadline)
		wantFault(t, err, "cannot do it: no use of LXD")
		took("an operation, which then gets less time", pollTime+callTime/hungShare)
		c := assemble(&guest{server: s, name: "c", made: []string{KindContainer}})
		wantFault(t, c.CopyIn(t.Context(), strings.NewReader(""), "/f", 0o644), "no use of LXD")
		took("a copy", callTime/hungShare)

		want := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(want)
		if err := halt(ctx, s, "c"); !errors.Is(err, want) {
			t.Errorf("the end of the build does not come first: %v", err)
		}
		took("at the end of the build", 0)
	})
}

func TestAnEngineThatAnswersAgainGetsItsTimeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := hang(t)
		var answers atomic.Bool
		s := inMemory(t, Incus, func(w http.ResponseWriter, r *http.Request) {
			if !answers.Load() {
				wait(w, r)
				return
			}
			_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"status_code": 102}}`)
		})
		wantFault(t, halt(t.Context(), s, "c"), "no answer in time")
		answers.Store(true)
		if err := halt(t.Context(), s, "c"); err != nil || s.patience() != s.call {
			t.Errorf("got %v, and then %v for an answer", err, s.patience())
		}
	})
}

func TestAnEngineThatIsNotThereIsTheHostsFault(t *testing.T) {
	_, err := connect(t.Context(), Config{Socket: filepath.Join(t.TempDir(), "none")}.withDefaults())
	wantFault(t, err, "cannot connect")
	_, err = connect(t.Context(), Config{Remote: "https://127.0.0.1:1", ClientCert: "/no/such/file"}.withDefaults())
	wantFault(t, err, "/no/such/file")
	cfg := listen(t, LXD, hang(t))
	cfg.Engine = Incus
	_, err = connect(t.Context(), cfg)
	wantFault(t, err, "the configuration says incus, but it is lxd")
}

func TestOperationsThatEnd(t *testing.T) {
	for _, tt := range []struct{ what, metadata, want string }{
		{"success", `{"status_code": 200}`, ""},
		{"failure", `{"status_code": 400, "err": "no such thing"}`, "cannot do it: Incus says: no such thing"},
		{"cancelled", `{"status_code": 401}`, "cancelled"},
		{"a full disk", `{"status_code": 400, "err": "write: no space left on device"}`, "no space"},
	} {
		s := mustConnect(t, listen(t, Incus, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"type": "sync", "metadata": `+tt.metadata+`}`)
		}))
		_, err := s.wait(t.Context(), "do it", "1234", noDeadline)
		if (tt.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.what, err)
		}
		var fault *verdict.HostFault
		if errors.As(err, &fault) != (tt.what == "a full disk") {
			t.Errorf("%s: blames the wrong one: %v", tt.what, err)
		}
	}
}

// What runs longer than one question stays open is answered differently by the
// engines; Incus calls it an error.
func TestOperationsThatTakeLong(t *testing.T) {
	var asked atomic.Int32
	s := mustConnect(t, listen(t, Incus, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.HasSuffix(r.URL.Path, "/wait"):
			_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"status_code": 103}}`)
		case asked.Add(1) < 3:
			_, _ = io.WriteString(w, `{"type": "error", "error": "context deadline exceeded", "error_code": 500}`)
		default:
			_, _ = io.WriteString(w, `{"type": "sync", "metadata": {"status_code": 200}}`)
		}
	}))
	if _, err := s.wait(t.Context(), "do it", "1234", noDeadline); err != nil || asked.Load() != 3 {
		t.Errorf("got %v after %d questions", err, asked.Load())
	}
}

func TestALostOperationIsTheHostsFault(t *testing.T) {
	s := mustConnect(t, listen(t, Incus, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"type": "error", "error": "Operation not found", "error_code": 404}`)
	}))
	_, err := s.wait(t.Context(), "do it", "1234", noDeadline)
	wantFault(t, err, "restarted")
}

func TestHeadersAreThoseOfTheEngine(t *testing.T) {
	for kind, want := range map[string]string{LXD: "X-Lxd-Properties", Incus: "X-Incus-Properties"} {
		got := make(chan http.Header, 1)
		s := mustConnect(t, listen(t, kind, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			got <- r.Header
			_, _ = io.WriteString(w, `{"type": "async", "metadata": {"id": "1234"}}`)
		}))
		body, _ := newUpload(t.Context(), io.NopCloser(strings.NewReader("x")), time.Minute)
		_, err := s.with(t.Context()).CreateImage(
			api.ImagesPost{ImagePut: api.ImagePut{Properties: map[string]string{"a": "b c"}}},
			&client.ImageCreateArgs{MetaFile: body},
		)
		if err != nil {
			t.Fatal(err)
		}
		header := <-got
		if header.Get(want) != "a=b+c" {
			t.Errorf("%s got %v", kind, header)
		}
		if _, wrong := header["X-Incus-Properties"]; wrong && kind == LXD {
			t.Error("LXD got headers of Incus")
		}
	}
}

func TestUploadsThatNobodyTakesAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer close(over)
		s := inMemory(t, Incus, func(http.ResponseWriter, *http.Request) { <-over }) // takes nothing
		send := func(ctx context.Context) error {
			body, bound := newUpload(ctx, io.NopCloser(zeros{}), uploadIdle)
			_, err := s.with(bound).CreateImage(api.ImagesPost{}, &client.ImageCreateArgs{MetaFile: body})
			if err == nil {
				return nil
			}
			return context.Cause(bound)
		}
		start := time.Now()
		if err := send(t.Context()); !errors.Is(err, errDeadline) || time.Since(start) != uploadIdle {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		want := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(want) })
		start = time.Now()
		if err := send(ctx); !errors.Is(err, want) || time.Since(start) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestVersionsOfLXC(t *testing.T) {
	for _, tt := range []struct {
		drivers, versions string
		want              int
	}{
		{"lxc", "5.0.2", 5},
		{"lxc", "2.0.11", 2},
		{"lxc | qemu", "5.0.0 | 8.0.4", 5},
		{"qemu | lxc", "8.0.4 | 4.0.12", 4},
		{"lxc", "3.0", 3},
		{"lxc", "devel", newestLXC},
		{"", "", newestLXC},
	} {
		if got := lxcMajor(tt.drivers, tt.versions); got != tt.want {
			t.Errorf("%q %q: got %d, want %d", tt.drivers, tt.versions, got, tt.want)
		}
	}
}
