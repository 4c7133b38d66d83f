package rpc

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"lpbuildd/daemonlog"
)

// NewServer makes the handler for a whole builder: /rpc and everything below
// it, and /filecache/, for which files gets the requests unchanged.
func NewServer(r Reporter, c Controller, files http.Handler, log *slog.Logger) *Server {
	s := &Server{
		reporter:   r,
		controller: c,
		files:      files,
		log:        log,
		methods:    methodTable(),
		byName:     map[string]method{},
		buffers:    sync.Pool{New: func() any { return new(buffers) }},
		memory:     semaphore.NewWeighted(sharedMemory),
		browsers:   http.NewCrossOriginProtection(),
		bodyTime:   bodyTime,
	}
	for _, m := range s.methods {
		s.byName[m.name] = m
	}
	return s
}

// ServeHTTP routes by path (spec: protocol.md section 1). Paths are not
// cleaned, because a redirect would be a wrong answer for most odd ones.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { //nolint:contextcheck // it is the request's own
	r = r.WithContext(daemonlog.WithCaller(r.Context(), hostOf(r.RemoteAddr)))
	if r.ContentLength != 0 {
		// Also for bodies that nobody reads: net/http looks for their end. Without
		// a body there must be no deadline, because it would end the context.
		s.limitReading(w)
	}
	switch path := r.URL.Path; {
	case path == "/rpc" || strings.HasPrefix(path, "/rpc/"):
		s.serveRPC(w, r)
	case strings.HasPrefix(path, "/filecache/"):
		ctx := r.Context()
		next := func() { working(ctx, sending) }
		next()
		s.files.ServeHTTP(newPacedWriter(w, s.bodyTime, next), r)
	case path == "/filecache":
		w.Header().Set("Location", "/filecache/")
		servePage(w, http.StatusFound, `<p><a href="/filecache/">/filecache/</a></p>`)
	case path == "/":
		servePage(w, http.StatusNotFound, introduction(r.Host))
	default:
		servePage(w, http.StatusNotFound, "<p>There is nothing here. Try <a href=\"/\">/</a>.</p>")
	}
}

// hostOf is an address without its port, which is another for each connection.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		if err := s.browsers.Check(r); err != nil {
			servePage(w, http.StatusForbidden, "<p>Calls from other sites' pages are refused.</p>")
			return
		}
		s.serveCall(w, r)
	case http.MethodGet, http.MethodHead:
		w.Header().Set("Allow", http.MethodPost)
		servePage(w, http.StatusMethodNotAllowed, introduction(r.Host))
	default:
		servePage(w, http.StatusNotImplemented, "<p>Only POST is of use here.</p>")
	}
}
