package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lpbuildd/rpc"
	"lpbuildd/rpc/wire"
)

// hostileCalls are such as strangers send, one after the other.
func hostileCalls(b *testing.B) []func() *http.Request {
	b.Helper()
	post := func(doc []byte, encoding string) func() *http.Request {
		return func() *http.Request {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "", bytes.NewReader(doc))
			if err != nil {
				panic(err) // nothing of it depends on anything
			}
			if encoding != "" {
				r.Header.Set("Content-Encoding", encoding)
			}
			return r
		}
	}
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(bytes.Repeat([]byte(" "), 2*wire.MaxBody)) // into memory
	_ = w.Close()
	return []func() *http.Request{
		post([]byte("not xml at all"), ""),
		post([]byte("<methodCall><methodName>echo</methodName>"), ""),
		post(encode(b, "no.such.method", "x"), ""),
		post(encode(b, "build", "id"), ""),
		post([]byte("<?xml version='1.0' encoding='utf-16'?><methodCall/>"), ""),
		post(encode(b, "echo", "x"), "br"),
		post(bomb.Bytes(), "gzip"),
		post(encode(b, "echo", strings.Repeat("x", 1<<20)), ""),
		post(append(encode(b, "info"), strings.Repeat(" ", 4<<20)...), ""),
		post([]byte("<methodCall>"+strings.Repeat("<a>", 20_000)), ""),
	}
}

// BenchmarkStatusUnderAttack is how long a manager waits for the status while
// eight clients send hostile requests as fast as they can, and others open
// connections and say nothing. Client, attackers and server share the machine.
func BenchmarkStatusUnderAttack(b *testing.B) {
	busy := busy()
	server := rpc.NewHTTPServer(rpc.NewServer(busy, busy, noFiles(), slog.New(slog.DiscardHandler)), slog.New(slog.DiscardHandler))
	ln, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := ln.Addr().String()
	ctx, cancel := context.WithCancelCause(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(rpc.LimitConnections(server, ln)) }) // until Close
	defer wg.Wait()
	defer func() { _ = server.Close() }()
	defer cancel(nil)
	var hostile atomic.Int64
	calls := hostileCalls(b)
	for i := range 8 {
		wg.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := i; ctx.Err() == nil; n++ {
				r := calls[n%len(calls)]().WithContext(ctx)
				r.URL.Scheme, r.URL.Host, r.URL.Path = "http", address, "/rpc"
				resp, err := transport.RoundTrip(r)
				if err != nil {
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body) // may be closed at any time
				_ = resp.Body.Close()
				hostile.Add(1)
			}
		})
	}
	wg.Go(func() { openSilently(ctx, address) })

	transport := &http.Transport{DisableKeepAlives: true} // as the manager does it
	call := encode(b, "status")
	var took []time.Duration
	for b.Loop() {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/rpc", bytes.NewReader(call))
		if err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		resp, err := transport.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		doc, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Contains(doc, []byte("BuilderStatus.BUILDING")) {
			b.Fatalf("%v: %s", err, doc)
		}
		_ = resp.Body.Close()
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(hostile.Load())/b.Elapsed().Seconds(), "hostile/s")
}

// openSilently holds as many connections as the server lets it.
func openSilently(ctx context.Context, address string) {
	var dialer net.Dialer
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			_ = conn.Close()
		}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		<-tick.C
		if conn, err := dialer.DialContext(ctx, "tcp", address); err == nil {
			open = append(open, conn)
		}
		if len(open) > 1000 {
			_ = open[0].Close()
			open = open[1:]
		}
	}
}
