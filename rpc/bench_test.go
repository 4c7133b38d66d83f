package rpc_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/xmlrpc"
)

// busy is a builder in BUILDING with a full log tail.
func busy() *fake.Builder {
	return fake.New(buildd.Status{
		State: buildd.Building, Version: "255", BuildID: "PACKAGEBUILD-123456", LogTail: bytes.Repeat([]byte("line of a log\r\n"), 137)[:2048],
	})
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkEncodeStatus is everything between decoding and sending.
func BenchmarkEncodeStatus(b *testing.B) {
	h := handler(busy())
	call := encode(b, "status")
	body := bytes.NewReader(call)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/rpc", http.NoBody)
	r.Body = io.NopCloser(body)
	w := &discard{header: http.Header{}}
	b.SetBytes(int64(post(b, h, call).Body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		body.Reset(call)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkDecodeStatus is the client's side of it.
func BenchmarkDecodeStatus(b *testing.B) {
	doc := post(b, handler(busy()), encode(b, "status")).Body.Bytes()
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := xmlrpc.DecodeResponse(doc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatusHTTP asks for the status over loopback with kept connections.
// The client takes about half of the time.
func BenchmarkStatusHTTP(b *testing.B) {
	server := serve(b, handler(busy()))
	url := server.URL + "/rpc"
	call := encode(b, "status")
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		for pb.Next() {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url, bytes.NewReader(call))
			if err != nil {
				b.Error(err)
				return
			}
			resp, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				b.Error(err)
			}
			_ = resp.Body.Close() // read to its end
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
