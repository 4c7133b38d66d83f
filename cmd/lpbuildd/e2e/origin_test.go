//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"lpbuildd/buildd"
)

// origin is the web server that a builder fetches files from.
type origin struct {
	url string

	mu    sync.Mutex
	files map[string]served // by path
}

// served is one file: data, or a file of this machine.
type served struct {
	data []byte
	path string
	// pause is made between any two pieces of data.
	pause time.Duration
	// after, if set, is called when the file was served.
	after func()
}

func newOrigin(t *testing.T) *origin {
	o := &origin{files: map[string]served{}}
	server := httptest.NewServer(o)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	o.url = server.URL
	return o
}

// then calls a function when a file was served.
func (o *origin) then(name string, after func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	file := o.files[name]
	file.after = after
	o.files[name] = file
}

// add serves a file and returns its URL.
func (o *origin) add(name string, s served) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[name] = s
	return o.url + name
}

// ServeHTTP implements http.Handler.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	file, ok := o.files[path.Clean(r.URL.Path)]
	o.mu.Unlock()
	switch {
	case !ok:
		http.NotFound(w, r)
	case file.path != "":
		http.ServeFile(w, r, file.path)
	default:
		http.ServeContent(w, r, "", time.Time{}, &slowly{Reader: bytes.NewReader(file.data), pause: file.pause})
	}
	if file.after != nil {
		file.after()
	}
}

// remove serves a file no longer.
func (o *origin) remove(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.files, name)
}

// slowly makes a pause before each read.
type slowly struct {
	*bytes.Reader
	pause time.Duration
}

// Read implements io.Reader.
func (s *slowly) Read(p []byte) (int, error) {
	if s.pause > 0 {
		<-time.After(s.pause)
	}
	return s.Reader.Read(p)
}

// WriteTo hides that of bytes.Reader, which would be quick.
func (s *slowly) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{s})
}

func sha1Of(data []byte) string {
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

// put brings data into the cache, for good, and returns its name.
func (b *builder) put(data []byte) string {
	b.t.Helper()
	sum := sha1Of(data)
	b.fetch(sum, b.origin.add("/"+sum, served{data: data}))
	return sum
}

// putFile brings a file into the cache, for good, and returns its name.
func (b *builder) putFile(name string) string {
	b.t.Helper()
	f, err := os.Open(name)
	must(b.t, err)
	defer func() { _ = f.Close() }()
	h := sha1.New()
	_, err = io.Copy(h, f)
	must(b.t, err)
	sum := hex.EncodeToString(h.Sum(nil))
	b.fetch(sum, b.origin.add("/"+sum, served{path: name}))
	return sum
}

func (b *builder) fetch(sum, url string) {
	b.t.Helper()
	b.known[sum] = true
	got, err := b.client.EnsurePresent(b.t.Context(), sum, buildd.Source{URL: &url})
	must(b.t, err)
	if !got.Present {
		b.t.Fatalf("ensurepresent %s: %+v", url, got)
	}
}
