package proxy_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"lpbuildd/buildd/proxy"
)

func noPlain(http.ResponseWriter, *http.Request) {}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

const connect = "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nUser-Agent: git/2\r\n\r\n"

func connected(t testing.TB, c connection) {
	t.Helper()
	resp := c.response(t, http.MethodConnect)
	if resp.StatusCode != 200 || resp.Header.Get("Via") != "1.1 parent" {
		t.Fatalf("got %d %q", resp.StatusCode, resp.Header)
	}
}

func TestTunnelKeepsEarlyDataAndHalfCloses(t *testing.T) {
	p, log := started(t, parent(t, listener(t, echo), noPlain))
	c := dial(t, p.Addr())
	c.send(t, connect+"early ")
	connected(t, c)
	c.send(t, "late")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.rest(t); got != "early late" {
		t.Errorf("got %q", got)
	}
	closeProxy(t, p)
	if want := "\"CONNECT example.com:443 HTTP/1.1\" 200 10 \"-\" \"git/2\"\n"; !strings.HasSuffix(log.String(), want) {
		t.Errorf("log %q", log)
	}
}

func TestTunnelWhereTheServerSpeaksFirst(t *testing.T) {
	received := make(chan string, 1)
	target := listener(t, func(c *net.TCPConn) {
		fmt.Fprint(c, "SSH-2.0\r\n")
		_ = c.CloseWrite()
		data, _ := io.ReadAll(c)
		received <- string(data)
	})
	p, _ := started(t, parent(t, target, noPlain))
	c := dial(t, p.Addr())
	c.send(t, connect)
	connected(t, c)
	if got := c.rest(t); got != "SSH-2.0\r\n" {
		t.Errorf("got %q", got)
	}
	c.send(t, "after the end")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-received; got != "after the end" {
		t.Errorf("the server got %q", got)
	}
}

func TestTunnelAnswerThatComesTogetherWithData(t *testing.T) {
	up := listener(t, func(c *net.TCPConn) {
		buf := make([]byte, 4096)
		_, _ = c.Read(buf)
		fmt.Fprint(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 Fine\r\nVia: 1.1 parent\r\nConnection: close\r\nContent-Length: 0\r\n\r\nbanner")
	})
	p, _ := started(t, "http://"+up)
	c := dial(t, p.Addr())
	c.send(t, connect)
	connected(t, c)
	if got := c.rest(t); got != "banner" {
		t.Errorf("got %q", got)
	}
}

func TestRefusedTunnelIsPassedOn(t *testing.T) {
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Squid-Error", "ERR_ACCESS_DENIED 0")
		http.Error(w, "no such port", http.StatusForbidden)
	})
	p, log := started(t, up)
	c := dial(t, p.Addr())
	c.send(t, connect)
	resp := c.response(t, "GET")
	if got := body(t, resp); resp.StatusCode != 403 || got != "no such port\n" || resp.Header.Get("X-Squid-Error") == "" {
		t.Errorf("got %d %q %q", resp.StatusCode, resp.Header, got)
	}
	closeProxy(t, p)
	if !strings.Contains(log.String(), `"CONNECT example.com:443 HTTP/1.1" 403 13 "-" "git/2"`) {
		t.Errorf("log %q", log)
	}
}

func TestTunnelsCarryMuchAtOnce(t *testing.T) {
	const size, tunnels = 4 << 20, 16
	p, _ := started(t, parent(t, listener(t, echo), noPlain))
	var wg sync.WaitGroup
	for i := range tunnels {
		c := dial(t, p.Addr())
		c.send(t, connect)
		connected(t, c)
		random := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), size) }
		wg.Go(func() {
			if _, err := io.Copy(c, random()); err != nil {
				t.Error(err)
			}
			_ = c.CloseWrite()
		})
		wg.Go(func() {
			want, got := sha256.New(), sha256.New()
			_, _ = io.Copy(want, random())
			if n, err := io.Copy(got, c.reader); err != nil || string(got.Sum(nil)) != string(want.Sum(nil)) {
				t.Errorf("tunnel %d: %d bytes, %v", i, n, err)
			}
		})
	}
	wg.Wait()
}

func TestCloseEndsTunnelsAndRequests(t *testing.T) {
	arrived := make(chan struct{})
	up := parent(t, listener(t, echo), func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	p, log := started(t, up)
	idle := dial(t, p.Addr())
	c := dial(t, p.Addr())
	c.send(t, connect)
	connected(t, c)
	waiting := dial(t, p.Addr())
	waiting.send(t, "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	closeProxy(t, p)
	for name, c := range map[string]connection{"idle": idle, "tunnel": c, "waiting": waiting} {
		if n, err := io.Copy(io.Discard, c.reader); n != 0 && err == nil {
			t.Errorf("%s: %d bytes more", name, n)
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("log %q", log)
	}
	if _, err := net.Dial("tcp", p.Addr().String()); err == nil {
		t.Error("it still listens")
	}
}

func TestBrokenTunnelEndsBothSides(t *testing.T) {
	gone := make(chan struct{})
	target := listener(t, func(c *net.TCPConn) {
		defer close(gone)
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	p, _ := started(t, parent(t, target, noPlain))
	c := dial(t, p.Addr())
	c.send(t, connect)
	connected(t, c)
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
	<-gone
}

func TestEndOfTheContextEndsTheProxy(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	p, err := proxy.Start(ctx, proxy.Config{
		Upstream: withUser(t, "http://127.0.0.1:1"), Listen: anyPort, Allow: []netip.Prefix{loopback},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, p.Addr())
	cancel(nil)
	if _, err := c.reader.ReadByte(); err == nil {
		t.Error("it still answers")
	}
	closeProxy(t, p)
}
