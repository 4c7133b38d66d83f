package rpc

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"lpbuildd/buildd"
	"lpbuildd/daemonlog"
	"lpbuildd/rpc/wire"
)

// Reporter answers questions about the builder. Its methods do not block.
type Reporter interface {
	Info() buildd.Info
	// Status changes nothing: Told is called with what a manager was answered.
	Status() buildd.Status
	Told(s buildd.Status)
	// ProxyInfo fails when there is no build.
	ProxyInfo() (buildd.ProxyInfo, error)
}

// Controller changes what the builder does. Every error becomes a fault, save
// for the two of Build.
type Controller interface {
	// EnsurePresent may take minutes and ends early with its context.
	EnsurePresent(ctx context.Context, sum string, src buildd.Source) (buildd.Presence, error)
	// Build returns nil when the build has been accepted. A
	// *buildd.UnknownTypeError or *buildd.UnknownSumError is an answer, not a
	// fault. The request may have an empty build id.
	Build(ctx context.Context, r buildd.Request) error
	// Abort and Clean report the wrong state as a *buildd.StateError.
	Abort(ctx context.Context) error
	Clean(ctx context.Context) error
}

// Limits of one request. Documents have the further ones of package xmlrpc.
const (
	// smallBody is what each of MaxConnections requests may hold in memory without
	// asking, so that no small call ever waits for a large one. Nearly all calls
	// are smaller by far.
	smallBody = 64 << 10
	// memoryPerByte is how much memory reading, decoding and answering a call may
	// need for each byte of its body: the body, the same in UTF-8, its values, which
	// for many empty elements are the largest part (see TestMemoryOfLargeCalls), and
	// the reply of echo.
	memoryPerByte = 6
	// sharedMemory is what all calls beyond smallBody hold together, by that measure:
	// one of the largest, or many that are not so large.
	sharedMemory = memoryPerByte * wire.MaxBody
	// bodyTime is how long a client may take to send a body, and to take a
	// reply or the next part of a file.
	bodyTime = 2 * time.Minute
)

// Server is the http.Handler of a builder.
type Server struct {
	reporter   Reporter
	controller Controller
	files      http.Handler
	log        *slog.Logger
	methods    []method // in the order of the table
	byName     map[string]method
	buffers    sync.Pool
	memory     *semaphore.Weighted // sharedMemory, see claim
	browsers   *http.CrossOriginProtection
	bodyTime   time.Duration
}

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

// limitReading gives the client a limited time to send the body.
func (s *Server) limitReading(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTime)) // tests' writers have none
}
