package selftest

import (
	"bytes"
	"context"
	"crypto/sha1" // the protocol names files by SHA-1
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path"
	"time"
)

// shelf is a web server on the loopback interface, for a builder on this machine
// and the builds in its chroots.
type shelf struct {
	url    string
	server *http.Server
	files  map[string][]byte // by path
	image  string            // path of the base image in the file system
}

// imagePath is where the base image is served.
const imagePath = "/image"

// newShelf serves files, and a base image.
func newShelf(ctx context.Context, files map[string][]byte, image string) (*shelf, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("cannot serve files to the builder: %w", err)
	}
	s := &shelf{url: "http://" + ln.Addr().String(), files: files, image: image}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(ln) }() // until close
	return s, nil
}

func (s *shelf) close() { _ = s.server.Close() }

// ServeHTTP implements http.Handler.
func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Clean(r.URL.Path)
	data, ok := s.files[name]
	switch {
	case name == imagePath:
		http.ServeFile(w, r, s.image)
	case ok:
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	default:
		http.NotFound(w, r)
	}
}

// sumOf is the SHA-1 of data.
func sumOf(data []byte) string {
	sum := sha1.Sum(data)
	return hex.EncodeToString(sum[:])
}

// sumOfFile is the SHA-1 of a file.
func sumOfFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha1.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
