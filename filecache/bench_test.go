package filecache_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"

	"lpbuildd/filecache"
)

const benchBytes = 64 << 20

func BenchmarkStore(b *testing.B) {
	c := open(b, b.TempDir(), filecache.Options{})
	data := blob(benchBytes)
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		s, err := c.Store(b.Context(), bytes.NewReader(data))
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Remove(s.SHA1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEnsureDownload(b *testing.B) {
	data := blob(benchBytes)
	src := from(serve(b, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data)
	}))
	name := sum(data)
	c := open(b, b.TempDir(), filecache.Options{})
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		if p := ensure(b, c, name, src); p.Info != "Download" {
			b.Fatal(p)
		}
		if err := c.Remove(name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPresent(b *testing.B) {
	c := open(b, b.TempDir(), filecache.Options{})
	s, err := c.Store(b.Context(), bytes.NewReader(blob(1000)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if there, err := c.Present(b.Context(), s.SHA1); !there || err != nil {
			b.Fatal(there, err)
		}
	}
}

func BenchmarkServe(b *testing.B) {
	for _, size := range []int{1 << 10, benchBytes} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := open(b, b.TempDir(), filecache.Options{})
			s, err := c.Store(b.Context(), bytes.NewReader(blob(size)))
			if err != nil {
				b.Fatal(err)
			}
			url := serve(b, c.Handler().ServeHTTP) + "/filecache/" + s.SHA1
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, client, url)
			}
		})
	}
}

func fetch(b *testing.B, client *http.Client, url string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url, nil)
	if err != nil {
		b.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status, err)
	}
	_ = resp.Body.Close()
}
