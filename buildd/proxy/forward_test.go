package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// one is a listener with one connection.
type one struct {
	net.Listener
	conn chan net.Conn
}

func (l one) Accept() (net.Conn, error) {
	conn, ok := <-l.conn
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l one) Close() error { close(l.conn); return nil }

func (l one) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// TestSlowUpstreamHoldsTheClientBack: the proxy keeps nothing of a body but what it
// is just about to pass on.
func TestSlowUpstreamHoldsTheClientBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Pipes keep nothing themselves.
		near, upstreamEnd := net.Pipe()
		client, far := net.Pipe()
		u, err := newUpstream(&url.URL{Scheme: "http", Host: "up.test"})
		if err != nil {
			t.Fatal(err)
		}
		f := &forwarder{upstream: u, log: newAccessLog("Builder proxy", io.Discard, nil)}
		f.plain = newReverseProxy(f.rewrite, f.inspect, f.failed, func(context.Context, string, string) (net.Conn, error) { return near, nil })
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.handle(&exchange{ResponseWriter: w}, r) })}
		ln := one{conn: make(chan net.Conn, 1)}
		ln.conn <- far
		go func() { _ = server.Serve(ln) }() // ends with Close
		go func() { _, _ = http.ReadRequest(bufio.NewReader(upstreamEnd)) }()
		const size = 1 << 30
		var sent atomic.Int64
		go func() {
			fmt.Fprintf(client, "PUT http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
			for chunk := make([]byte, 4096); sent.Load() < size; {
				n, err := client.Write(chunk)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		synctest.Wait()
		if n := sent.Load(); n == 0 || n > 1<<20 {
			t.Errorf("%d bytes were taken of a body that nobody reads", n)
		}
		_, _, _ = upstreamEnd.Close(), client.Close(), server.Close()
		<-time.After(time.Second) // for which net/http leaves a connection half closed
	})
}
