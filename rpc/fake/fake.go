// Package fake is a builder with settable answers, for tests of the server and of
// its clients. Tests run it; it touches nothing.
package fake

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"lpbuildd/buildd"
)

// Builder is a rpc.Reporter and rpc.Controller. Its fields are set before it is
// asked anything; the status may change meanwhile.
type Builder struct {
	Proxy    *buildd.ProxyInfo // nil: there is no build
	Cache    map[string]bool   // what builds may use
	Presence buildd.Presence
	Err      error // of every call that may fail

	// What it was asked for last. Requests that were refused for their sums are not
	// there.
	Sum     string
	Source  buildd.Source
	Request buildd.Request

	mu     sync.Mutex
	status buildd.Status
}

// New makes a builder with a status.
func New(st buildd.Status) *Builder { return &Builder{status: st} }

// Idle makes an idle builder.
func Idle() *Builder { return New(buildd.Status{State: buildd.Idle}) }

// SetStatus changes the status.
func (b *Builder) SetStatus(st buildd.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status = st
}

// Status is the one that was set last.
func (b *Builder) Status() buildd.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// Told does nothing.
func (*Builder) Told(buildd.Status) {}

// Info is always the same.
func (*Builder) Info() buildd.Info {
	return buildd.Info{Arch: "amd64", Tags: []string{
		"binarypackage", "sourcepackagerecipe", "translation-templates", "livefs",
		"snap", "oci", "charm", "ci", "rock", "craft",
	}}
}

// ProxyInfo is Proxy.
func (b *Builder) ProxyInfo() (buildd.ProxyInfo, error) {
	if b.Proxy == nil {
		return buildd.ProxyInfo{}, &buildd.Fault{Reason: "there is no build"}
	}
	return *b.Proxy, nil
}

// EnsurePresent answers with Presence.
func (b *Builder) EnsurePresent(_ context.Context, sum string, src buildd.Source) (buildd.Presence, error) {
	b.Sum, b.Source = sum, src
	return b.Presence, b.Err
}

// Build refuses what a real builder refuses, in the same order, and accepts the rest
// without building it.
func (b *Builder) Build(_ context.Context, r buildd.Request) error {
	known := b.Info().Tags
	if !slices.Contains(known, r.Tag) {
		return &buildd.UnknownTypeError{Tag: r.Tag, Known: known}
	}
	if r.BadInputs != nil {
		return r.BadInputs
	}
	if !b.Cache[r.Image] {
		return &buildd.UnknownSumError{Sum: r.Image}
	}
	for _, file := range r.Files {
		if !b.Cache[file.Value] {
			return &buildd.UnknownSumError{Name: file.Name, Sum: file.Value}
		}
	}
	if r.Malformed != nil {
		return r.Malformed
	}
	b.Request = r
	if r.BuildID == "" {
		return &buildd.Fault{Reason: "build id: expected a name, got nothing"}
	}
	return b.event(buildd.Accept)
}

// Abort is refused in the wrong state; it changes nothing.
func (b *Builder) Abort(context.Context) error { return b.event(buildd.Abort) }

// Clean is refused in the wrong state; it changes nothing.
func (b *Builder) Clean(context.Context) error { return b.event(buildd.Clean) }

func (b *Builder) event(event buildd.Event) error {
	if b.Err != nil {
		return b.Err
	}
	state := b.Status().State
	for _, t := range buildd.Transitions() {
		if t.From == state && t.Event == event {
			return nil
		}
	}
	return &buildd.StateError{State: state, Event: event}
}

// Direct is a transport that calls a handler, without a network: nothing runs
// beside the caller, so that tests may have their own time (testing/synctest). A
// handler that panics is a server that does not answer.
type Direct struct{ Handler http.Handler }

// RoundTrip calls the handler.
func (d Direct) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if err := context.Cause(r.Context()); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, fmt.Errorf("no answer: %w, %v", io.ErrUnexpectedEOF, p)
		}
	}()
	w := httptest.NewRecorder()
	d.Handler.ServeHTTP(w, r)
	return w.Result(), nil
}
