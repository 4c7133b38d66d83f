package proxy_test

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"lpbuildd/buildd/proxy"
)

func TestPlainRequestArrivesAsItWasSent(t *testing.T) {
	heads := make(chan string, 1)
	up := listener(t, func(c *net.TCPConn) {
		var head strings.Builder
		for r := bufio.NewReader(c); !strings.HasSuffix(head.String(), "\r\n\r\n"); {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
		}
		heads <- head.String()
		fmt.Fprint(c, "HTTP/1.1 203 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nKeep-Alive: x\r\nContent-Length: 2\r\n\r\nhi")
	})
	p, _ := started(t, "http://"+up)
	c := dial(t, p.Addr())
	c.send(t, "GET http://example.com//a|b%2f?x;y=%zz&q=\"1\" HTTP/1.1\r\nHost: example.com\r\n"+
		"X-Many: one\r\nX-Many: two\r\nX-Forwarded-For: 10.1.1.1\r\nProxy-Connection: keep-alive\r\nKeep-Alive: 5\r\n"+
		"Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authorization: Basic Zm9v\r\nAccept-Encoding: zstd\r\n\r\n")
	resp := c.response(t, "GET")
	head := <-heads
	for _, line := range []string{
		"GET http://example.com//a|b%2f?x;y=%zz&q=\"1\" HTTP/1.1\r\n", "\r\nHost: example.com\r\n", "\r\nConnection: close\r\n",
		"\r\nX-Many: one\r\nX-Many: two\r\n", "\r\nX-Forwarded-For: 10.1.1.1\r\n", "\r\nAccept-Encoding: zstd\r\n",
		"\r\nProxy-Authorization: Basic YnVpbGQgMTpzM2NyM3QvcEBzczrDtg==\r\n",
	} {
		if !strings.Contains(head, line) {
			t.Errorf("the request has no %q:\n%s", line, head)
		}
	}
	for _, line := range []string{"Proxy-Connection", "Keep-Alive", "X-Hop", "User-Agent", "Zm9v"} {
		if strings.Contains(head, line) {
			t.Errorf("the request has %q:\n%s", line, head)
		}
	}
	if got := body(t, resp); got != "hi" || resp.StatusCode != 203 {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
	if got := resp.Header["Set-Cookie"]; len(got) != 2 {
		t.Errorf("cookies %q", got)
	}
	for _, made := range []string{"Content-Type", "Date", "Keep-Alive"} {
		if resp.Header[made] != nil {
			t.Errorf("the response has %s: %q", made, resp.Header[made])
		}
	}
}

// TestCredentialsOfAClientAreForThisProxy, and not for the next one.
func TestCredentialsOfAClientAreForThisProxy(t *testing.T) {
	up := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%q", r.Header["Proxy-Authorization"]) })
	u, err := url.Parse(up)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, proxy.Config{Upstream: u, Listen: anyPort, Allow: []netip.Prefix{loopback}})
	c := dial(t, p.Addr())
	c.send(t, "GET http://x/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic Zm9v\r\n\r\n")
	if got := body(t, c.response(t, "GET")); got != "[]" {
		t.Errorf("the upstream proxy got %s", got)
	}
}

func TestUpstreamErrorsArePassedOn(t *testing.T) {
	for _, code := range []int{204, 301, 304, 403, 404, 500, 503} {
		up := parent(t, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) })
		p, log := started(t, up)
		c := dial(t, p.Addr())
		c.send(t, "GET http://example.com/ HTTP/1.0\r\nUser-Agent: wget/1\r\nReferer: http://a:b@c/?t=1\r\n\r\n")
		if resp := c.response(t, "GET"); resp.StatusCode != code {
			t.Errorf("got %d, want %d", resp.StatusCode, code)
		}
		closeProxy(t, p)
		want := fmt.Sprintf("\"GET http://example.com/ HTTP/1.0\" %d - \"http://c/?t=1\" \"wget/1\"\n", code)
		if !strings.HasSuffix(log.String(), want) {
			t.Errorf("log %q, want %q", log, want)
		}
	}
}

func TestUnreachableUpstreamIs501(t *testing.T) {
	p, log := started(t, "http://127.0.0.1:1") // where nobody listens
	for _, request := range []string{
		"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
		"POST http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
	} {
		c := dial(t, p.Addr())
		c.send(t, request)
		resp := c.response(t, "GET")
		if got := body(t, resp); resp.StatusCode != 501 || got != "<H1>Could not connect</H1>" || resp.Header.Get("Content-Type") != "text/html" {
			t.Errorf("got %d %q %q", resp.StatusCode, resp.Header, got)
		}
	}
	closeProxy(t, p)
	if n := strings.Count(log.String(), "Builder proxy: the upstream proxy cannot be reached"); n != 1 {
		t.Errorf("the reason is in the log %d times:\n%s", n, log)
	}
	if n := strings.Count(log.String(), " 501 26 "); n != 3 {
		t.Errorf("%d requests are in the log:\n%s", n, log)
	}
	noSecrets(t, log.String())
}

func TestRefusedTokenIsOneClearLine(t *testing.T) {
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="squid"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		_, _ = io.WriteString(w, "Cache Access Denied")
	})
	p, log := started(t, up)
	for _, method := range []string{"GET", "HEAD", "CONNECT"} {
		target := map[bool]string{true: "x:443", false: "http://x/"}[method == "CONNECT"]
		c := dial(t, p.Addr())
		c.send(t, method+" "+target+" HTTP/1.1\r\nHost: x\r\n\r\n")
		resp := c.response(t, method)
		if resp.StatusCode != 407 || resp.Header["Proxy-Authenticate"] != nil {
			t.Errorf("%s: got %d %q", method, resp.StatusCode, resp.Header)
		}
		if got := body(t, resp); (got != "The build's network token was refused or has expired.\n") != (method == "HEAD") {
			t.Errorf("%s: got %q", method, got)
		}
	}
	closeProxy(t, p)
	if n := strings.Count(log.String(), "the build's network token was refused or has expired"); n != 1 {
		t.Errorf("it is in the log %d times:\n%s", n, log)
	}
	if n := strings.Count(log.String(), "\n"); n != 4 {
		t.Errorf("%d lines in the log:\n%s", n, log)
	}
}

func TestInterimResponsesArePassedOn(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		data, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(data)
	})
	p, log := started(t, up)
	var interim []int
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		interim = append(interim, code)
		return nil
	}}
	ctx := httptrace.WithClientTrace(t.Context(), trace)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://example.com/", strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	client := via(t, p.Addr())
	client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if got := body(t, resp); resp.StatusCode != 202 || got != "data" {
		t.Errorf("got %d %q", resp.StatusCode, got)
	}
	if got := fmt.Sprint(interim); got != "[103 100]" {
		t.Errorf("interim responses %s", got)
	}
	closeProxy(t, p)
	if !strings.Contains(log.String(), `HTTP/1.1" 202 4 "-"`) {
		t.Errorf("log %q", log)
	}
}

func TestExpectationThatFailsSavesTheBody(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusRequestEntityTooLarge) })
	p, _ := started(t, up)
	c := dial(t, p.Addr())
	c.send(t, "PUT http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
	if resp := c.response(t, "PUT"); resp.StatusCode != 413 {
		t.Errorf("got %d", resp.StatusCode)
	}
}

func TestStreamsBothWaysAtOnce(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); _ = rc.Flush() {
			fmt.Fprintln(w, "echo", lines.Text())
		}
	})
	p, _ := started(t, up)
	from, to := io.Pipe()
	resp, err := via(t, p.Addr()).Post("http://example.com/", "text/plain", from)
	if err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewScanner(resp.Body)
	for i := range 10 {
		fmt.Fprintln(to, i)
		if !answers.Scan() || answers.Text() != fmt.Sprint("echo ", i) {
			t.Fatalf("after line %d: %q, %v", i, answers.Text(), answers.Err())
		}
	}
	_ = to.Close()
	if got := body(t, resp); got != "" {
		t.Errorf("at the end %q", got)
	}
}

func TestLargeBodiesArriveWhole(t *testing.T) {
	const size = 64 << 20
	random := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{1}), size) }
	want := sha256.New()
	_, _ = io.Copy(want, random())
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		_, _ = io.Copy(sum, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = io.Copy(w, random())
		w.Header().Set("X-Sum", fmt.Sprintf("%x", sum.Sum(nil)))
	})
	p, _ := started(t, up)
	resp, err := via(t, p.Addr()).Post("http://example.com/", "text/plain", random())
	if err != nil {
		t.Fatal(err)
	}
	got := sha256.New()
	if _, err := io.Copy(got, resp.Body); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Error("the response is damaged")
	}
	if resp.Trailer.Get("X-Sum") != fmt.Sprintf("%x", want.Sum(nil)) {
		t.Error("the request is damaged, or the trailer was lost")
	}
}

func TestTruncatedResponseIsSeenAsOne(t *testing.T) {
	up := listener(t, func(c *net.TCPConn) {
		_, _ = http.ReadRequest(bufio.NewReader(c))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	})
	p, log := started(t, "http://"+up)
	resp := get(t, via(t, p.Addr()), "http://example.com/")
	if data, err := io.ReadAll(resp.Body); err == nil || string(data) != "abc" {
		t.Errorf("got %q, %v", data, err)
	}
	_ = resp.Body.Close()
	closeProxy(t, p)
	if !strings.Contains(log.String(), `"GET http://example.com/ HTTP/1.1" 200 3 `) {
		t.Errorf("log %q", log)
	}
}

func TestUpstreamThatHangsUpIs502(t *testing.T) {
	up := listener(t, func(c *net.TCPConn) { _, _ = http.ReadRequest(bufio.NewReader(c)) })
	p, _ := started(t, "http://"+up)
	for _, request := range []string{"GET http://x/", "CONNECT x:443"} {
		c := dial(t, p.Addr())
		c.send(t, request+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp := c.response(t, "GET"); resp.StatusCode != 502 {
			t.Errorf("got %d", resp.StatusCode)
		}
	}
}

func TestClientThatHalfClosesGetsItsAnswer(t *testing.T) {
	closed := make(chan struct{})
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) {
		<-closed
		fmt.Fprint(w, "answer")
	})
	p, _ := started(t, up)
	c := dial(t, p.Addr())
	c.send(t, "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	close(closed)
	if got := body(t, c.response(t, "GET")); got != "answer" {
		t.Errorf("got %q", got)
	}
}

func TestProtocolUpgradeIsRelayed(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(c, rw)
	})
	p, _ := started(t, up)
	c := dial(t, p.Addr())
	c.send(t, "GET http://x/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp := c.response(t, "GET"); resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("got %d %q", resp.StatusCode, resp.Header)
	}
	c.send(t, "ping")
	if got, err := c.reader.Peek(4); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestUpstreamCanBeHTTPS(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parentHandler(w, r, "", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	p := start(t, proxy.Config{
		Upstream: withUser(t, s.URL), Listen: anyPort, Allow: []netip.Prefix{loopback},
		TLS: s.Client().Transport.(*http.Transport).TLSClientConfig,
	})
	if got := body(t, get(t, via(t, p.Addr()), "http://example.com/x")); got != "http://example.com/x" {
		t.Errorf("got %q", got)
	}
	strict := start(t, proxy.Config{
		Upstream: withUser(t, s.URL), Listen: anyPort, Allow: []netip.Prefix{loopback}, TLS: &tls.Config{},
	})
	if got := status(t, via(t, strict.Addr()), "http://example.com/x"); got != 501 {
		t.Errorf("a certificate of nobody: %d", got)
	}
}

func TestOnlyTheBuildIsServed(t *testing.T) {
	log := &buildLog{}
	p := start(t, proxy.Config{
		Upstream: withUser(t, parent(t, "", func(w http.ResponseWriter, r *http.Request) { t.Error("a request got through") })),
		Listen:   anyPort, Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/64")}, Log: log,
	})
	for range 3 {
		for _, request := range []string{"GET http://x/", "CONNECT x:443"} {
			c := dial(t, p.Addr())
			c.send(t, request+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if resp := c.response(t, "GET"); resp.StatusCode != 403 {
				t.Errorf("got %d", resp.StatusCode)
			}
		}
	}
	if got := log.String(); got != "Builder proxy: refused a request of 127.0.0.1, which is not this build\n" {
		t.Errorf("log %q", got)
	}
}

func TestOnlyProxyRequestsAreServed(t *testing.T) {
	p, _ := started(t, "http://127.0.0.1:1")
	for _, line := range []string{"GET / HTTP/1.0", "OPTIONS * HTTP/1.0"} {
		c := dial(t, p.Addr())
		c.send(t, line+"\r\n\r\n")
		if resp := c.response(t, "GET"); resp.StatusCode != 400 {
			t.Errorf("%s: %d", line, resp.StatusCode)
		}
	}
}

// TestNobodyIsShownWhatTheProxyAdds: the answer to TRACE is the request, with
// the credentials in it.
func TestNobodyIsShownWhatTheProxyAdds(t *testing.T) {
	p, log := started(t, parent(t, "", func(w http.ResponseWriter, r *http.Request) { _ = r.Write(w) }))
	c := dial(t, p.Addr())
	c.send(t, "TRACE http://example.com/ HTTP/1.1\r\nHost: example.com\r\nMax-Forwards: 0\r\n\r\n")
	resp := c.response(t, "TRACE")
	if got := body(t, resp); resp.StatusCode != 405 || strings.Contains(got, "Basic") {
		t.Errorf("got %d: %s", resp.StatusCode, got)
	}
	closeProxy(t, p)
	if !strings.Contains(log.String(), `"TRACE http://example.com/ HTTP/1.1" 405 `) {
		t.Errorf("log %q", log)
	}
}

func TestLogLinesHaveNoSecrets(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1024)) })
	p, log := started(t, up)
	for _, uri := range []string{
		"http://u:s3cr3t@example.com/x?a=1&access_token=s3cr3t;X-Amz-Signature=s3cr3t&b#f", "http://e/?" + url.QueryEscape(password),
		"http://e/?%74oken=s3cr3t", "http://e/?", "http://e/?plain=%22", "http://e/\"\\",
	} {
		c := dial(t, p.Addr())
		c.send(t, "GET "+uri+" HTTP/1.1\r\nHost: e\r\nUser-Agent: a\"b\t\xff\r\nReferer: http://u:s3cr3t@r/?code=s3cr3t\r\n\r\n")
		if resp := c.response(t, "GET"); resp.StatusCode != 200 {
			t.Errorf("%s: %d", uri, resp.StatusCode)
		}
		_ = c.rest(t)
	}
	closeProxy(t, p)
	noSecrets(t, log.String())
	tail := ` HTTP/1.1" 200 1024 "http://r/?code=[redacted]" "a\"b\t\xff"`
	want := []string{
		`http://example.com/x?a=1&access_token=[redacted];X-Amz-Signature=[redacted]&b#f`, `http://e/?[redacted]`,
		`http://e/?%74oken=[redacted]`, `http://e/?`, `http://e/?plain=%22`, `http://e/\"\\`,
	}
	got := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
	for i, line := range got {
		prefix := regexp.MustCompile(`^\[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\] `).FindString(line)
		if i >= len(want) || prefix == "" || line[len(prefix):] != `"GET `+want[i]+tail {
			t.Errorf("line %q", line)
		}
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	good := proxy.Config{Upstream: withUser(t, "http://up.test"), Listen: anyPort, Allow: []netip.Prefix{loopback}}
	for name, change := range map[string]func(*proxy.Config){
		"another program listens on 127.0.0.1:":        func(c *proxy.Config) { c.Listen = netip.MustParseAddrPort(taken.Addr().String()) },
		"this machine does not have the address 192.0": func(c *proxy.Config) { c.Listen = netip.MustParseAddrPort("192.0.2.1:0") },
		"nobody is allowed to use it":                  func(c *proxy.Config) { c.Allow = nil },
		"everybody could use it: 0.0.0.0/0":            func(c *proxy.Config) { c.Allow = []netip.Prefix{loopback, netip.MustParsePrefix("0.0.0.0/0")} },
		"everybody could use it: ::/0":                 func(c *proxy.Config) { c.Allow = []netip.Prefix{netip.MustParsePrefix("::/0")} },
		"everybody could use it: invalid Prefix":       func(c *proxy.Config) { c.Allow = []netip.Prefix{{}} },
		"there is no upstream proxy":                   func(c *proxy.Config) { c.Upstream = nil },
		`has the scheme "socks5"`:                      func(c *proxy.Config) { c.Upstream = withUser(t, "socks5://up.test") },
	} {
		c := good
		change(&c)
		p, err := proxy.Start(t.Context(), c)
		if err == nil {
			closeProxy(t, p)
		}
		if err == nil || !strings.HasPrefix(err.Error(), "cannot start the builder proxy: ") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = proxy.ParseURL("http://user:s3cr3t%zz@up.test")
	if err == nil {
		t.Fatal("a broken URL is accepted")
	}
	noSecrets(t, err.Error())
}

func TestManyClientsAtOnce(t *testing.T) {
	up := parent(t, "", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) })
	p, log := started(t, up)
	client := via(t, p.Addr())
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 25 {
				uri := fmt.Sprintf("http://example.com/%d/%d", i, j)
				resp, err := client.Get(uri)
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(data) != uri {
					t.Errorf("%s: got %q, %v", uri, data, err)
				}
			}
		})
	}
	wg.Wait()
	closeProxy(t, p)
	if n := strings.Count(log.String(), "\n"); n != 200 {
		t.Errorf("%d lines in the log", n)
	}
}
