package rpc

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"lpbuildd/buildd"
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

// limitReading gives the client a limited time to send the body.
func (s *Server) limitReading(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.bodyTime)) // tests' writers have none
}

// method is one row of the method table.
type method struct {
	name string
	// params is how many parameters there must be, -1 for any number.
	params int
	handle func(s *Server, ctx context.Context, params []any) (any, error)
	help   string
	// signature has one row: the type of the result, then those of the
	// parameters. Where nil is allowed as well, the help says so.
	signature []string
}
