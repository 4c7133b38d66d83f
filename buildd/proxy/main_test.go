package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"lpbuildd/buildd/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	user     = "build 1"
	password = "s3cr3t/p@ss:ö"
)

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")
	anyPort  = netip.MustParseAddrPort("127.0.0.1:0")
)

// buildLog is a build log.
type buildLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *buildLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// withUser is the URL of an upstream proxy with the credentials of the tests.
func withUser(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := proxy.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u
}

// started is a proxy in front of the upstream at address.
func started(t testing.TB, address string) (p *proxy.Proxy, log *buildLog) {
	t.Helper()
	log = &buildLog{}
	p = start(t, proxy.Config{
		Upstream: withUser(t, address), Listen: anyPort, Allow: []netip.Prefix{loopback}, Log: log,
	})
	return p, log
}

func start(t testing.TB, c proxy.Config) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeProxy(t, p) })
	return p
}

func closeProxy(t testing.TB, p interface{ Close(context.Context) error }) {
	t.Helper()
	if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// via is a client of the proxy at addr.
func via(t testing.TB, addr netip.AddrPort) *http.Client {
	t.Helper()
	tr := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: addr.String()}), DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// serve is a plain HTTP server, and its URL.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// parent is an upstream proxy that wants the credentials of the tests and answers
// plain requests with h. It connects every tunnel to target.
func parent(t testing.TB, target string, h http.HandlerFunc) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) { parentHandler(w, r, target, h) })
}

func parentHandler(w http.ResponseWriter, r *http.Request, target string, h http.HandlerFunc) {
	credentials := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	if u, p, _ := credentials.BasicAuth(); u != user || p != password {
		w.Header().Set("Proxy-Authenticate", `Basic realm="squid"`)
		http.Error(w, "Cache Access Denied", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		h(w, r)
		return
	}
	origin, err := net.Dial("tcp", target)
	if err != nil {
		http.Error(w, "no such host", http.StatusServiceUnavailable)
		return
	}
	defer func() { _ = origin.Close() }()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = client.Close() }()
	fmt.Fprint(client, "HTTP/1.1 200 Connection established\r\nVia: 1.1 parent\r\n\r\n")
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(origin, buffered.Reader)
		_ = origin.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(client, origin)
	_ = client.(*net.TCPConn).CloseWrite()
	wg.Wait()
}

// listener serves connections with handle until the test ends.
func listener(t testing.TB, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// connection is a raw one to the proxy.
type connection struct {
	*net.TCPConn
	reader *bufio.Reader
}

func dial(t testing.TB, addr netip.AddrPort) connection {
	t.Helper()
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return connection{TCPConn: c.(*net.TCPConn), reader: bufio.NewReader(c)}
}

func (c connection) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// response reads one; its body is read from c.
func (c connection) response(t testing.TB, method string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func (c connection) rest(t testing.TB) string {
	t.Helper()
	data, err := io.ReadAll(c.reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func get(t testing.TB, c *http.Client, address string) *http.Response {
	t.Helper()
	resp, err := c.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// status is that of the response to a GET, whose body does not matter.
func status(t testing.TB, c *http.Client, address string) int {
	t.Helper()
	resp := get(t, c, address)
	_ = body(t, resp)
	return resp.StatusCode
}

// noSecrets fails if text has the test's password in any form.
func noSecrets(t testing.TB, text string) {
	t.Helper()
	for _, form := range []string{password, url.QueryEscape(password), "s3cr3t", "czNjcjN0", "YnVpbGQgMTpz"} {
		if strings.Contains(text, form) {
			t.Errorf("the password is in %q", text)
		}
	}
}
