package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

const benchSize = 64 << 20

func BenchmarkPlain(b *testing.B) {
	data := make([]byte, 1<<20)
	up := parent(b, "", func(w http.ResponseWriter, r *http.Request) {
		for range benchSize / len(data) {
			_, _ = w.Write(data)
		}
	})
	p, _ := started(b, up)
	client := via(b, p.Addr())
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		resp := get(b, client, "http://example.com/")
		if n, err := io.Copy(io.Discard, resp.Body); n != benchSize || err != nil {
			b.Fatal(n, err)
		}
		_ = resp.Body.Close()
	}
}

func BenchmarkTunnel(b *testing.B) {
	data := make([]byte, 1<<20)
	target := listener(b, func(c *net.TCPConn) {
		for range benchSize / len(data) {
			_, _ = c.Write(data)
		}
	})
	p, _ := started(b, parent(b, target, noPlain))
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		c := dial(b, p.Addr())
		c.send(b, connect)
		connected(b, c)
		if err := c.CloseWrite(); err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, c.reader); n != benchSize || err != nil {
			b.Fatal(n, err)
		}
		_ = c.Close()
	}
}

func BenchmarkSmallRequests(b *testing.B) {
	p, _ := started(b, parent(b, "", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }))
	client := via(b, p.Addr())
	b.ReportAllocs()
	for b.Loop() {
		_ = body(b, get(b, client, "http://example.com/"))
	}
}
