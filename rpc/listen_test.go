package rpc_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/fake"
)

// pipeListener accepts in-memory connections, so that time can be synthetic.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	close(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// dial serves h with all time limits and returns a connection to it. It must
// be called in a synctest bubble.
func dial(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := rpc.NewHTTPServer(h, slog.New(slog.DiscardHandler))
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	client, remote := net.Pipe()
	listener.conns <- remote
	t.Cleanup(func() {
		_ = client.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return client
}

func TestSlowClientsAreCutOff(t *testing.T) {
	for _, test := range []struct {
		name, sent string
		after      time.Duration
		answer     string
	}{
		{"silence", "", time.Minute, ""},
		{"half a header", "POST /rpc HTTP/1.1\r\nHost:", time.Minute, ""},
		{"silence after a call", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", time.Minute, "HTTP/1.1 404 "},
		{"half a body", "POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n<methodCall>", 2 * time.Minute, "HTTP/1.1 200 "},
		{"half a body that nobody wants", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\nx", 2 * time.Minute, "HTTP/1.1 404 "},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := dial(t, handler(fake.Idle()))
				start := time.Now()
				go func() { _, _ = io.WriteString(conn, test.sent) }()
				answer, _ := io.ReadAll(conn) // how a pipe ends does not matter
				if took := time.Since(start).Round(time.Second); took != test.after {
					t.Errorf("cut off after %v, want %v", took, test.after)
				}
				if !strings.HasPrefix(string(answer), test.answer) {
					t.Errorf("got %.200q", answer)
				}
			})
		})
	}
}

// slowBuilder takes twenty minutes to get a file.
type slowBuilder struct{ *fake.Builder }

func (slowBuilder) EnsurePresent(ctx context.Context, _ string, _ buildd.Source) (buildd.Presence, error) {
	select {
	case <-time.After(20 * time.Minute):
		return buildd.Presence{Present: true, Info: "Download"}, nil
	case <-ctx.Done():
		return buildd.Presence{}, context.Cause(ctx)
	}
}

func TestLongCallsAreNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := slowBuilder{fake.Idle()}
		conn := dial(t, rpc.NewServer(b, b, noFiles(), slog.New(slog.DiscardHandler)))
		doc := encode(t, "ensurepresent", "0", "http://x/", "", "")
		go func() {
			_, _ = io.WriteString(conn, "POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(len(doc))+"\r\n\r\n"+string(doc))
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(body), "Download") {
			t.Errorf("%v: %s", err, body)
		}
	})
}

// zeros is an endless file.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestDownloadsMayBeLongButMustGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 8 << 20
		failed := make(chan error, 1)
		files := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(size))
			_, err := io.CopyN(w, zeros{}, size)
			failed <- err
		})
		conn := dial(t, rpc.NewServer(fake.Idle(), fake.Idle(), files, slog.New(slog.DiscardHandler)))
		go func() { _, _ = io.WriteString(conn, "GET /filecache/x HTTP/1.1\r\nHost: x\r\n\r\n") }()
		// A megabyte a minute is slow enough for a limit on the whole to be noticed.
		for range 6 {
			if _, err := io.CopyN(io.Discard, conn, 1<<20); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
		}
		start := time.Now()
		if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(start); waited > 2*time.Minute {
			t.Errorf("a client that reads nothing was borne for %v", waited)
		}
	})
}
