package rpc_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"lpbuildd/rpc"
	"lpbuildd/rpc/fake"
)

func TestMain(m *testing.M) {
	// net/http waits half a second before it closes a connection whose body it did
	// not read, whatever becomes of the server.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

// noFiles stands for the file handler where it does not matter.
func noFiles() http.Handler { return http.NotFoundHandler() }

func handler(b *fake.Builder) http.Handler {
	return rpc.NewServer(b, b, noFiles(), slog.New(slog.DiscardHandler))
}

// serve runs a real server for the time of the test.
func serve(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server
}
