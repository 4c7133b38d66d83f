package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc"
	"lpbuildd/rpc/client"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func handler(b *fake.Builder) http.Handler { return withFiles(b, http.NotFoundHandler()) }

func withFiles(b *fake.Builder, files http.Handler) http.Handler {
	return rpc.NewServer(b, b, files, slog.New(slog.DiscardHandler))
}

// serve runs a real server for the time of the test.
func serve(t *testing.T, h http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// connect makes a client for a real server that runs for the time of the test.
func connect(t *testing.T, h http.Handler) *client.Client {
	t.Helper()
	c, err := client.New(serve(t, h))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNewRefusesURLs(t *testing.T) {
	for _, url := range []string{"", "host:8221", "ftp://host/", "http://", "http://[", "/rpc"} {
		if _, err := client.New(url); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
	if _, err := client.New("gopher://user:secret@host/"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestClientURLs(t *testing.T) {
	base := serve(t, handler(fake.Idle()))
	for _, suffix := range []string{"", "/", "/rpc", "/rpc/"} {
		c, err := client.New(base + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Info(t.Context()); err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
		c.Close()
	}
}

func TestClientEcho(t *testing.T) {
	c := connect(t, handler(fake.Idle()))
	params := []any{
		nil, true, int64(-7), 2.0, "a \r\n<&>",
		[]byte{0, 255},
		xmlrpc.DateTime("20200102T03:04:05"),
		[]any{},
		ordered.Struct{{Name: "<k>", Value: nil}, {Name: "", Value: []any{"x"}}},
	}
	got, err := c.Echo(t.Context(), params...)
	if err != nil || !reflect.DeepEqual(got, params) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestClientReports(t *testing.T) {
	want := buildd.Status{
		State: buildd.Waiting, Version: "254", BuildID: "X-1", Outcome: "OK",
		FileMap: map[string]string{"a": "b"}, Extra: map[string]any{"revision_id": "r"},
	}
	yes, endpoint := true, "http://proxy.test/1"
	b := fake.New(want)
	b.Proxy = &buildd.ProxyInfo{UseFetchService: &yes, RevocationEndpoint: &endpoint}
	c := connect(t, handler(b))
	if got, err := c.Status(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	b.SetStatus(buildd.Status{State: buildd.Building, BuildID: "X-1", LogTail: []byte("a\xff")})
	if got, err := c.Status(t.Context()); err != nil || !reflect.DeepEqual(got, b.Status()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := c.Info(t.Context()); err != nil || !reflect.DeepEqual(got, b.Info()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := c.ProxyInfo(t.Context()); err != nil || !reflect.DeepEqual(got, *b.Proxy) {
		t.Errorf("got %+v, %v", got, err)
	}
	b.Proxy = &buildd.ProxyInfo{}
	if got, err := c.ProxyInfo(t.Context()); err != nil || got != (buildd.ProxyInfo{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestClientEnsurePresent(t *testing.T) {
	b := fake.Idle()
	b.Presence = buildd.Presence{Present: true, Info: "Cache"}
	c := connect(t, handler(b))
	url := "http://x/"
	for _, src := range []buildd.Source{{}, {URL: &url, Username: "u", Password: "p"}} {
		got, err := c.EnsurePresent(t.Context(), "abc", src)
		if err != nil || got != b.Presence {
			t.Errorf("got %v, %v", got, err)
		}
		if b.Sum != "abc" || !reflect.DeepEqual(b.Source, src) {
			t.Errorf("the builder got %q, %+v", b.Sum, b.Source)
		}
	}
}

func TestClientBuild(t *testing.T) {
	b := fake.Idle()
	b.Cache = map[string]bool{"image": true, "s1": true}
	c := connect(t, handler(b))
	request := buildd.Request{
		BuildID: "X-1", Tag: "binarypackage", Image: "image", Files: ordered.Map[string]{{Name: "a.dsc", Value: "s1"}},
		Args: map[string]any{"series": "bookworm", "keys": []any{"k"}, "n": nil, "big": int64(1) << 40},
	}
	if err := c.Build(t.Context(), request); err != nil || !reflect.DeepEqual(b.Request, request) {
		t.Errorf("%v; the builder got %+v", err, b.Request)
	}
	missing := request
	missing.Files = ordered.Map[string]{{Name: "a.dsc", Value: "s1"}, {Name: "b.tar", Value: "s2"}}
	var badSum *buildd.UnknownSumError
	if err := c.Build(t.Context(), missing); !errors.As(err, &badSum) || *badSum != (buildd.UnknownSumError{Name: "b.tar", Sum: "s2"}) {
		t.Errorf("got %v", err)
	}
	missing.Image = "other"
	if err := c.Build(t.Context(), missing); !errors.As(err, &badSum) || *badSum != (buildd.UnknownSumError{Sum: "other"}) {
		t.Errorf("got %v", err)
	}
	var badType *buildd.UnknownTypeError
	err := c.Build(t.Context(), buildd.Request{BuildID: "X", Tag: "nosuch"})
	if !errors.As(err, &badType) || badType.Tag != "nosuch" || !reflect.DeepEqual(badType.Known, b.Info().Tags) {
		t.Errorf("got %#v", err)
	}
}

func TestClientFaults(t *testing.T) {
	c := connect(t, handler(fake.Idle()))
	err := c.Clean(t.Context())
	var fault *client.Fault
	want := client.Fault{Code: 8002, String: "error", Reason: "clean() needs a builder that is WAITING, this one is IDLE: there is no build"}
	if !errors.As(err, &fault) || *fault != want {
		t.Errorf("got %#v", err)
	}
	if got := err.Error(); got != "fault 8002: clean() needs a builder that is WAITING, this one is IDLE: there is no build" {
		t.Errorf("got %q", got)
	}
	if err := c.Abort(t.Context()); !errors.As(err, &fault) {
		t.Errorf("got %v", err)
	}
}

func TestClientUnderstandsThatABuilderTakesNoBuilds(t *testing.T) {
	for _, why := range []string{buildd.DrainedText + "; because", buildd.BrokenText + ": read-only file system"} {
		st := buildd.Status{State: buildd.Idle, Drained: why}
		c := connect(t, handler(fake.New(st)))
		if got, err := c.Status(t.Context()); err != nil || !reflect.DeepEqual(got, st) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestClientTransportErrors(t *testing.T) {
	c := connect(t, http.NotFoundHandler())
	if _, err := c.Status(t.Context()); err == nil || err.Error() != "cannot call status: the builder answered 404 Not Found" {
		t.Errorf("got %v", err)
	}
	odd := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<methodResponse><params><param><value>odd</value></param></params></methodResponse>"))
	}))
	if _, err := odd.Status(t.Context()); err == nil || err.Error() != "cannot understand the reply to status: odd" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	if err := odd.Clean(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// fileServer serves one growing file as /filecache/buildlog.
type fileServer struct {
	mu   sync.Mutex
	data []byte // nil: no such file
}

func (f *fileServer) append(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, text...)
}

func (f *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	data := bytes.Clone(f.data)
	f.mu.Unlock()
	if data == nil || r.URL.Path != "/filecache/buildlog" {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "buildlog", time.Time{}, bytes.NewReader(data))
}

func TestOpenFile(t *testing.T) {
	c := connect(t, withFiles(fake.Idle(), &fileServer{data: []byte("0123456789")}))
	for _, test := range []struct {
		name   string
		offset int64
		want   string
	}{
		{"the whole file", 0, "0123456789"},
		{"the rest", 7, "789"},
		{"nothing more", 10, ""},
		{"behind the end", 99, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := c.OpenFile(t.Context(), wire.BuildLog, test.offset)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(file)
			if err != nil || string(got) != test.want || file.Size != 10 {
				t.Errorf("got %q of %d, %v", got, file.Size, err)
			}
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := c.OpenFile(t.Context(), "../nosuch", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOpenFileOfAServerWithoutRanges(t *testing.T) {
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("0123456789"))
	}))
	file, err := c.OpenFile(t.Context(), "x", 4)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(file)
	if err != nil || string(got) != "456789" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = file.Close()
}

func TestClientTakesNoPartOfAnAnswer(t *testing.T) {
	c := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte(" "), 2*wire.MaxBody+1))
	}))
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "the answer is larger than 67108864 bytes") {
		t.Errorf("got %v", err)
	}
}
