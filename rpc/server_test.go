package rpc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

func encode(t testing.TB, method string, params ...any) []byte {
	t.Helper()
	doc, err := xmlrpc.AppendCall(nil, method, params)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestRoutes(t *testing.T) {
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, r.URL.Path)
	})
	h := rpc.NewServer(fake.Idle(), fake.Idle(), files, slog.New(slog.DiscardHandler))
	call := string(encode(t, "echo", "x"))
	for _, test := range []struct {
		method, target, body string
		code                 int
		shows                string
	}{
		{"POST", "/rpc", call, 200, "<string>x</string>"},
		{"POST", "/rpc/", call, 200, "<string>x</string>"},
		{"POST", "/rpc/any/thing?x=1", call, 200, "<string>x</string>"},
		{"POST", "/rpc?x=1", call, 200, "<string>x</string>"},
		{"GET", "/rpc", "", 405, "It runs commands from the network as root; keep the port firewalled."},
		{"GET", "/rpc/x", "", 405, `ServerProxy("http://example.com/rpc"`},
		{"HEAD", "/rpc", "", 405, ""},
		{"PUT", "/rpc", "", 501, ""},
		{"OPTIONS", "/rpc", "", 501, ""},
		{"GET", "/", "", 404, "It runs commands from the network as root; keep the port firewalled."},
		{"POST", "/", call, 404, ""},
		{"GET", "/nosuch", "", 404, ""},
		{"GET", "/RPC", "", 404, ""},
		{"GET", "/rpcx", "", 404, ""},
		{"GET", "/filecachex", "", 404, ""},
		{"GET", "/filecache", "", 302, ""},
		{"GET", "/filecache/", "", 418, "/filecache/"},
		{"PUT", "/filecache/abc", "", 418, "/filecache/abc"},
		{"GET", "/filecache//etc/passwd", "", 418, "/filecache//etc/passwd"},
		{"GET", "/filecache/../rpc", "", 418, "/filecache/../rpc"},
		{"GET", "/filecache/%2e%2e/x", "", 418, "/filecache/../x"},
	} {
		t.Run(test.method+" "+test.target, func(t *testing.T) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), test.method, test.target, strings.NewReader(test.body)))
			if w.Code != test.code || !strings.Contains(w.Body.String(), test.shows) {
				t.Errorf("got %d %s", w.Code, w.Body)
			}
			if allow := w.Header().Get("Allow"); (w.Code == 405) != (allow == "POST") {
				t.Errorf("Allow: %q", allow)
			}
			if length := w.Header().Get("Content-Length"); w.Code != 418 && length != strconv.Itoa(w.Body.Len()) {
				t.Errorf("Content-Length %q for %d bytes", length, w.Body.Len())
			}
			if w.Code == 302 && w.Header().Get("Location") != "/filecache/" {
				t.Errorf("Location: %q", w.Header().Get("Location"))
			}
		})
	}
}

func TestHostOnThePageIsEscaped(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Host = "<script>"
	w := httptest.NewRecorder()
	handler(fake.Idle()).ServeHTTP(w, r)
	if strings.Contains(w.Body.String(), "<script>") {
		t.Error("the page shows the host as it came")
	}
}

func TestCallsFromOtherSitesAreRefused(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", bytes.NewReader(encode(t, "echo")))
	r.Header.Set("Origin", "https://evil.example")
	w := httptest.NewRecorder()
	handler(fake.Idle()).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d", w.Code)
	}
}

// faultOf posts a call and returns the fault with which it was answered.
func faultOf(t *testing.T, h http.Handler, doc []byte) (*xmlrpc.FaultError, string) {
	t.Helper()
	w := post(t, h, doc)
	_, err := xmlrpc.DecodeResponse(w.Body.Bytes())
	var fault *xmlrpc.FaultError
	if !errors.As(err, &fault) {
		t.Fatalf("no fault but %v: %.300s", err, w.Body)
	}
	return fault, w.Header().Get("X-Fault-Reason")
}

func TestFaults(t *testing.T) {
	const sum = "0000000000000000000000000000000000000000"
	none := map[string]any{}
	for _, test := range []struct {
		name, method string
		params       []any
		code         int
		text, reason string // reason "": same as text
	}{
		{"an unknown method", "nosuch", nil, 8001, "procedure nosuch not found", ""},
		{"a method of Python objects", "__init__", nil, 8001, "procedure __init__ not found", ""},
		{"no name", "", nil, 8001, "procedure  not found", ""},
		{"a very long name", strings.Repeat("n", 5000), nil, 8001, "procedure " + strings.Repeat("n", 200) + "... not found", ""},
		{"a dotted name", "a.b.c", nil, 8001, "no such subHandler a", ""},
		{"multicall", "system.multicall", []any{[]any{}}, 8001, "no such subHandler system", ""},
		{"too many parameters", "status", []any{int64(1)}, 8002, "error", "status: expected 0 parameters, got 1"},
		{"too few parameters", "ensurepresent", []any{sum}, 8002, "error", "ensurepresent: expected 4 parameters, got 1"},
		{"abort while idle", "abort", nil, 8002, "error", "abort() needs a builder that is BUILDING or ABORTING, this one is IDLE: there is no build"},
		{"clean while idle", "clean", nil, 8002, "error", "clean() needs a builder that is WAITING, this one is IDLE: there is no build"},
		{"proxy_info without a build", "proxy_info", nil, 8002, "proxy_info: there is no build", ""},
		{"a sum that is a number", "ensurepresent", []any{int64(5), nil, nil, nil}, 8002, "ensurepresent: sha1: expected a string, got int", ""},
		{"a nil sum", "ensurepresent", []any{nil, "u", "", ""}, 8002, "ensurepresent: sha1: expected a string, got nil", ""},
		{"a URL that is an array", "ensurepresent", []any{sum, []any{}, "", ""}, 8002, "ensurepresent: url: expected a string or nil, got array", ""},
		{"a user that is a boolean", "ensurepresent", []any{sum, "u", true, ""}, 8002, "ensurepresent: username: expected a string or nil, got boolean", ""},
		{"a password that is binary", "ensurepresent", []any{sum, "u", "", []byte{}}, 8002, "ensurepresent: password: expected a string or nil, got base64", ""},
		{"a build id that is a number", "build", []any{int64(0), "snap", sum, none, none}, 8002, "build: build id: expected a string or nil, got int", ""},
		{"a build type that is an array", "build", []any{"X", []any{}, sum, none, none}, 8002, "build: build type: expected a string, got array", ""},
		{"a nil image", "build", []any{"X", "snap", nil, none, none}, 8002, "build: chroot: expected a string, got nil", ""},
		{"files in an array", "build", []any{"X", "snap", sum, []any{}, none}, 8002, "build: filemap: expected a struct, got array", ""},
		{"a file with a nil sum", "build", []any{"X", "snap", sum, map[string]any{"a": nil}, none}, 8002, "build: filemap: a: expected a string, got nil", ""},
		{"arguments in a string", "build", []any{"X", "snap", sum, none, "nonsense"}, 8002, "build: args: expected a struct, got string", ""},
		{"an argument that is no number", "build", []any{"X", "snap", sum, none, map[string]any{"a": []any{math.NaN()}}}, 8002, "build: args: a: expected a finite number", ""},
		{"an argument of 70 bits", "build", []any{"X", "snap", sum, none, map[string]any{"a": []any{xmlrpc.BigInt("999999999999999999999")}}}, 8002, "build: args: a: the integer does not fit 64 bits", ""},
		{"help for nothing", "system.methodHelp", []any{"x\ny"}, 8002, `system.methodHelp: there is no method "x\ny"`, ""},
		{"a result beyond 32 bits", "echo", []any{int64(1) << 31}, 8002, "Can't serialize output: int exceeds XML-RPC limits", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := fake.Idle()
			b.Cache = map[string]bool{sum: true}
			fault, reason := faultOf(t, handler(b), encode(t, test.method, test.params...))
			if fault.Code != test.code || fault.String != test.text {
				t.Errorf("got %+v", fault)
			}
			if test.reason == "" {
				test.reason = test.text
			}
			if reason != test.reason {
				t.Errorf("got reason %q, want %q", reason, test.reason)
			}
		})
	}
}

// The order of the checks is part of the protocol.
func TestMalformedRequestsAreReportedLast(t *testing.T) {
	const sum = "0000000000000000000000000000000000000000"
	b := fake.Idle()
	b.Cache = map[string]bool{sum: true}
	none := map[string]any{}
	for _, test := range []struct {
		name   string
		params []any
		want   string
	}{
		{"an unknown type first", []any{int64(0), "nosuch", "", none, nil}, "BuilderStatus.UNKNOWNBUILDER"},
		{"whatever else is wrong", []any{nil, "nosuch", nil, int64(7), nil}, "BuilderStatus.UNKNOWNBUILDER"},
		{"then an unknown image", []any{int64(0), "snap", "x", none, nil}, "BuilderStatus.UNKNOWNSUM"},
		{"then an unknown file", []any{int64(0), "snap", sum, map[string]any{"a": "x"}, nil}, "BuilderStatus.UNKNOWNSUM"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(t, handler(b), encode(t, "build", test.params...))
			got, err := xmlrpc.DecodeResponse(w.Body.Bytes())
			if pair, ok := got.([]any); err != nil || !ok || pair[0] != test.want {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestControllerErrors(t *testing.T) {
	const image = "ff967be1fd16ea76c7096c9b041ad61490bd0f25"
	b := fake.New(buildd.Status{State: buildd.Building})
	b.Cache = map[string]bool{image: true}
	request := encode(t, "build", "X", "snap", image, map[string]any{}, map[string]any{})
	if fault, _ := faultOf(t, handler(b), request); fault.String != "build() needs a builder that is IDLE, this one is BUILDING: wait for the end of the build, or abort() it" {
		t.Errorf("build while building: %q", fault.String)
	}
	b.Err = errors.New("args: series is required:\n\tno \u2603")
	fault, reason := faultOf(t, handler(b), request)
	if want := "build: args: series is required:;  no \u2603"; fault.String != want {
		t.Errorf("got %q, want %q", fault.String, want)
	}
	if want := "build: args: series is required:;  no ?"; reason != want {
		t.Errorf("got %q, want %q", reason, want)
	}
	b.Err = &buildd.Fault{Reason: "build: " + strings.Repeat("x", 5000)}
	fault, reason = faultOf(t, handler(b), request)
	if strings.HasPrefix(fault.String, "build: build: ") || len(fault.String) > 2100 || len(reason) != 500 {
		t.Errorf("got %.40q of length %d, reason of length %d", fault.String, len(fault.String), len(reason))
	}
	b.Err = errors.New("disk full")
	if fault, _ := faultOf(t, handler(b), encode(t, "clean")); fault.String != "clean: disk full" {
		t.Errorf("clean: %q", fault.String)
	}
}

func TestBodiesBeyondTheLimits(t *testing.T) {
	deep := strings.Repeat("<array><data><value>", 100_000)
	for _, test := range []struct{ name, doc, reason string }{
		{"too long", strings.Repeat("x", wire.MaxBody+1), "larger than 33554432 bytes"},
		{"a string that fills it", callText("<string>" + strings.Repeat("x", wire.MaxBody) + "</string>"), "larger than"},
		{"too deep", callText(deep), "nested too deeply"},
		{"an entity bomb", "<!DOCTYPE z [<!ENTITY a 'aaaa'>]>" + callText("&a;"), "document type declarations are not allowed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fault, reason := faultOf(t, handler(fake.Idle()), []byte(test.doc))
			if fault.Code != 8002 || !strings.HasPrefix(fault.String, "Can't deserialize input: ") || !strings.Contains(fault.String, test.reason) {
				t.Errorf("got %+v", fault)
			}
			if reason != fault.String {
				t.Errorf("got reason %q", reason)
			}
		})
	}
}

func callText(value string) string {
	return "<methodCall><methodName>echo</methodName><params><param><value>" + value + "</value></param></params></methodCall>"
}

// stalled is a body that goes on after its first 64 KiB only when it is told to.
type stalled struct {
	io.Reader
	given  int
	beyond *atomic.Int32 // how many of them were asked for more
	on     <-chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	const small = 64 << 10
	if s.given == small {
		s.beyond.Add(1)
		<-s.on
	}
	if s.given < small {
		p = p[:min(len(p), small-s.given)]
	}
	n, err := s.Reader.Read(p)
	s.given += n
	return n, err
}

// TestFewLargeCallsAtATime: those who send slowly must not fill the memory, nor
// keep others out.
func TestFewLargeCallsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(fake.Idle())
		doc := encode(t, "echo", strings.Repeat("0123456789abcdef", 3<<14))
		var beyond, answered atomic.Int32
		on := make(chan struct{})
		for range 10 {
			go func() {
				body := &stalled{Reader: bytes.NewReader(doc), beyond: &beyond, on: on}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", body))
				if w.Body.Len() > 3<<18 {
					answered.Add(1)
				}
			}()
		}
		synctest.Wait()
		if n := beyond.Load(); n != 1 {
			t.Errorf("%d large calls of unknown size are read at once", n)
		}
		if w := post(t, h, encode(t, "echo", "x")); !strings.Contains(w.Body.String(), "<string>x</string>") {
			t.Errorf("a small call meanwhile: %s", w.Body)
		}
		close(on)
		synctest.Wait()
		if n := answered.Load(); n != 10 {
			t.Errorf("%d large calls were answered", n)
		}
	})
}

func TestLargeCallsInParallel(t *testing.T) {
	h := handler(fake.Idle())
	doc := encode(t, "echo", strings.Repeat("0123456789abcdef", 3<<16))
	done := make(chan int)
	for range 10 {
		go func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", bytes.NewReader(doc)))
			done <- w.Body.Len()
		}()
	}
	for range 10 {
		if n := <-done; n < 3<<20 {
			t.Errorf("got only %d bytes", n)
		}
	}
}

// contexts notes in which contexts it was called, and what a manager was told.
type contexts struct {
	*fake.Builder
	seen []error
	told int
}

func (c *contexts) Build(ctx context.Context, _ buildd.Request) error {
	c.seen = append(c.seen, ctx.Err())
	return nil
}

func (c *contexts) Abort(ctx context.Context) error { return c.Build(ctx, buildd.Request{}) }
func (c *contexts) Clean(ctx context.Context) error { return c.Build(ctx, buildd.Request{}) }
func (c *contexts) Told(buildd.Status)              { c.told++ }

func (c *contexts) EnsurePresent(ctx context.Context, _ string, _ buildd.Source) (buildd.Presence, error) {
	return buildd.Presence{}, c.Build(ctx, buildd.Request{})
}

// TestWhatHasBegunIsDone, even for a client that is gone; nobody fetches files for it.
func TestWhatHasBegunIsDone(t *testing.T) {
	c := &contexts{Builder: fake.Idle()}
	h := rpc.NewServer(c, c, noFiles(), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	none := map[string]any{}
	for _, doc := range [][]byte{
		encode(t, "build", "X", "snap", "s", none, none), encode(t, "abort"), encode(t, "clean"), encode(t, "ensurepresent", "s", nil, nil, nil),
	} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/rpc", bytes.NewReader(doc)))
	}
	if want := []error{nil, nil, nil, context.Canceled}; !reflect.DeepEqual(c.seen, want) {
		t.Errorf("got %v, want %v", c.seen, want)
	}
}

// TestOnlyWhatAManagerWasAnsweredIsTold, not what the daemon asks itself.
func TestOnlyWhatAManagerWasAnsweredIsTold(t *testing.T) {
	c := &contexts{Builder: fake.Idle()}
	h := rpc.NewServer(c, c, noFiles(), slog.New(slog.DiscardHandler))
	ask := func(ctx context.Context, want int) {
		t.Helper()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/rpc", bytes.NewReader(encode(t, "status"))))
		if c.told != want {
			t.Errorf("told %d times, want %d", c.told, want)
		}
	}
	ask(rpc.Unheard(t.Context()), 0)
	ask(t.Context(), 1)
}

type panicking struct{ *fake.Builder }

func (panicking) Clean(context.Context) error { panic("oops") }

func TestPanicIsAFault(t *testing.T) {
	b := fake.Idle()
	h := rpc.NewServer(b, panicking{b}, noFiles(), slog.New(slog.DiscardHandler))
	fault, _ := faultOf(t, h, encode(t, "clean"))
	if fault.Code != 8002 || fault.String != "clean: internal error, see the daemon's log" {
		t.Errorf("got %+v", fault)
	}
	if w := post(t, h, encode(t, "echo")); !strings.Contains(w.Body.String(), "<params>") {
		t.Errorf("echo afterwards: %s", w.Body)
	}
}

// exchange sends raw bytes and returns everything that comes back.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestHTTPVersions(t *testing.T) {
	address := serve(t, handler(fake.Idle())).Listener.Addr().String()
	body := string(encode(t, "echo", strings.Repeat("x", 5000)))
	half := len(body) / 2
	for _, test := range []struct{ name, request string }{
		{"HTTP/1.0 without Host", fmt.Sprintf("POST /rpc HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body)},
		{"HTTP/1.1", fmt.Sprintf("POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)},
		{
			"a chunked body", fmt.Sprintf("POST /rpc HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n",
				half, body[:half], len(body)-half, body[half:]),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := exchange(t, address, test.request)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil || resp.ContentLength != int64(len(got)) || len(got) < 5000 || len(resp.TransferEncoding) > 0 {
				t.Errorf("got %d of %d bytes, %v, %v", len(got), resp.ContentLength, resp.TransferEncoding, err)
			}
			if media := resp.Header.Get("Content-Type"); media != "text/xml; charset=utf-8" {
				t.Errorf("Content-Type %q", media)
			}
		})
	}
	if answer := exchange(t, address, "POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
		t.Errorf("a negative length: %.60s", answer)
	}
	if answer := exchange(t, address, "HEAD /rpc HTTP/1.0\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.0 405 ") {
		t.Errorf("HEAD: %.60s", answer)
	}
}

// answer posts a call and returns what it was answered.
func answer(t *testing.T, h http.Handler, method string, params ...any) any {
	t.Helper()
	value, err := xmlrpc.DecodeResponse(post(t, h, encode(t, method, params...)).Body.Bytes())
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	return value
}

func TestIntrospection(t *testing.T) {
	h := handler(fake.Idle())
	list := answer(t, h, "system.listMethods").([]any)
	if len(list) != 11 || list[0] != "echo" {
		t.Errorf("got %v", list)
	}
	for _, name := range list {
		if help := answer(t, h, "system.methodHelp", name).(string); !strings.HasPrefix(help, name.(string)+"(") {
			t.Errorf("help of %s: %v", name, help)
		}
		signature := answer(t, h, "system.methodSignature", name).([]any)
		if len(signature) != 1 || len(signature[0].([]any)) == 0 {
			t.Errorf("signature of %s: %v", name, signature)
		}
	}
}

func TestBuildKeepsTheOrderOfStructs(t *testing.T) {
	b := fake.Idle()
	b.Cache = map[string]bool{"image": true, "1": true, "2": true}
	nested := ordered.Struct{{Name: "z", Value: []any{ordered.Struct{{Name: "y", Value: "1"}, {Name: "x", Value: "2"}}}}, {Name: "a", Value: int64(7)}}
	files := ordered.Map[string]{{Name: "b.dsc", Value: "2"}, {Name: "a.dsc", Value: "1"}}
	post(t, handler(b), encode(t, "build", "B-1", "snap", "image", files, map[string]any{"struct": nested}))
	if !reflect.DeepEqual(b.Request.Files, files) || !reflect.DeepEqual(b.Request.Args["struct"], nested) {
		t.Errorf("got %v with %v", b.Request.Files, b.Request.Args)
	}
	missing := ordered.Map[string]{{Name: "z", Value: "gone last"}, {Name: "a", Value: "gone first"}}
	reply := post(t, handler(b), encode(t, "build", "B-1", "snap", "image", missing, map[string]any{}))
	if !strings.Contains(reply.Body.String(), "FILESUM -&gt; gone last") {
		t.Errorf("not the first missing file: %s", reply.Body)
	}
}
