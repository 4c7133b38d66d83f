package rpc_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
)

func TestMain(m *testing.M) {
	// net/http waits half a second before it closes a connection whose body it did
	// not read, whatever becomes of the server.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// builder is a Reporter and Controller with settable answers.
type builder struct {
	mu       sync.Mutex
	status   buildd.Status
	proxy    *buildd.ProxyInfo // nil: there is no build
	cache    map[string]bool
	presence buildd.Presence
	ensured  struct {
		sum string
		src buildd.Source
	}
	request buildd.Request // the last one that was not refused for its sums
	err     error          // of every call that may fail
}

func (b *builder) Info() buildd.Info {
	return buildd.Info{Arch: "amd64", Tags: []string{
		"binarypackage", "sourcepackagerecipe", "translation-templates", "livefs",
		"snap", "oci", "charm", "ci", "rock", "craft",
	}}
}

func (*builder) Told(buildd.Status) {}

func (b *builder) Status() buildd.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

func (b *builder) setStatus(st buildd.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = st
}

func (b *builder) ProxyInfo() (buildd.ProxyInfo, error) {
	if b.proxy == nil {
		return buildd.ProxyInfo{}, &buildd.Fault{Reason: "there is no build"}
	}
	return *b.proxy, nil
}

func (b *builder) EnsurePresent(_ context.Context, sum string, src buildd.Source) (buildd.Presence, error) {
	b.ensured.sum, b.ensured.src = sum, src
	return b.presence, b.err
}

func (b *builder) Build(_ context.Context, r buildd.Request) error {
	known := b.Info().Tags
	if !slices.Contains(known, r.Tag) {
		return &buildd.UnknownTypeError{Tag: r.Tag, Known: known}
	}
	if r.BadInputs != nil {
		return r.BadInputs
	}
	if !b.cache[r.Image] {
		return &buildd.UnknownSumError{Sum: r.Image}
	}
	for _, file := range r.Files {
		if !b.cache[file.Value] {
			return &buildd.UnknownSumError{Name: file.Name, Sum: file.Value}
		}
	}
	if r.Malformed != nil {
		return r.Malformed
	}
	b.request = r
	if r.BuildID == "" {
		return &buildd.Fault{Reason: "build id: expected a name, got nothing"}
	}
	if b.err == nil && b.status.State != buildd.Idle {
		return &buildd.StateError{State: b.status.State, Event: buildd.Accept}
	}
	return b.err
}

func (b *builder) Abort(context.Context) error { return b.event(buildd.Abort) }

func (b *builder) Clean(context.Context) error { return b.event(buildd.Clean) }

func (b *builder) event(event buildd.Event) error {
	if b.err != nil {
		return b.err
	}
	for _, t := range buildd.Transitions() {
		if t.From == b.status.State && t.Event == event {
			return nil
		}
	}
	return &buildd.StateError{State: b.status.State, Event: event}
}

func idle() *builder { return &builder{status: buildd.Status{State: buildd.Idle}} }

// noFiles stands for the file handler where it does not matter.
func noFiles() http.Handler { return http.NotFoundHandler() }

func handler(b *builder) http.Handler {
	return rpc.NewServer(b, b, noFiles(), slog.New(slog.DiscardHandler))
}

// serve runs a real server for the time of the test.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}

// connect makes a client for a server that runs for the time of the test.
func connect(t testing.TB, h http.Handler, opts ...rpc.Option) *rpc.Client {
	t.Helper()
	client, err := rpc.New(serve(t, h).URL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}
