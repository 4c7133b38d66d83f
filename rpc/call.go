package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

// buffers are what one call needs and the next one can use again.
type buffers struct {
	body  bytes.Buffer
	reply []byte
}

// serveCall answers one POST. The status code is always 200.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request) {
	b := s.buffers.Get().(*buffers)
	defer s.recycle(b)
	c := claim{pool: s.memory}
	defer c.shrink(0)
	call, err := s.readCall(w, r, &b.body, &c)
	working(r.Context(), calling)
	var f *fault
	if err != nil {
		reason := "Can't deserialize input: " + oneLine(err.Error())
		f = &fault{wire.CodeFailed, reason, reason}
		b.reply = f.append(b.reply[:0])
	} else {
		b.reply, f = s.run(r.Context(), b.reply[:0], call)
	}
	header := w.Header()
	if f != nil {
		header.Set(wire.ReasonHeader, headerText(f.reason))
		s.log.LogAttrs(r.Context(), slog.LevelDebug, "answered with a fault",
			slog.String("method", briefly(call.Method)), slog.Int("code", int(f.code)),
			slog.String("reason", f.reason), slog.String("remote", r.RemoteAddr))
	}
	header.Set("Content-Type", "text/xml; charset=utf-8")
	header.Set("Content-Length", strconv.Itoa(len(b.reply)))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.bodyTime)) // tests' writers have none
	_, _ = w.Write(b.reply)                                                        // the client may be gone
}

// recycle keeps buffers for later, unless an unusual call made them large.
func (s *Server) recycle(b *buffers) {
	const largest = 64 << 10
	if b.body.Cap() <= largest && cap(b.reply) <= largest {
		b.body.Reset()
		s.buffers.Put(b)
	}
}

// run carries a call out and appends the reply to b. A fault that is not nil is
// in the reply.
func (s *Server) run(ctx context.Context, b []byte, call xmlrpc.Call) ([]byte, *fault) {
	value, f := s.invoke(ctx, call)
	if f == nil {
		reply, err := xmlrpc.AppendResponse(b, value)
		if err == nil {
			return reply, nil
		}
		reason := "Can't serialize output: " + err.Error()
		f = &fault{wire.CodeFailed, reason, reason}
	}
	return f.append(b), f
}

// invoke finds the method and calls it.
func (s *Server) invoke(ctx context.Context, call xmlrpc.Call) (value any, f *fault) {
	m, known := s.byName[call.Method]
	if !known {
		return nil, unknownMethod(call.Method)
	}
	if m.params >= 0 && len(call.Params) != m.params {
		reason := fmt.Sprintf("%s: expected %d parameters, got %d", m.name, m.params, len(call.Params))
		return nil, &fault{wire.CodeFailed, "error", reason} // pinned: protocol.md section 3
	}
	defer func() {
		if p := recover(); p != nil {
			s.log.ErrorContext(ctx, "method panicked", "method", m.name, "panic", p, "stack", string(debug.Stack()))
			value, f = nil, failed(m.name, errors.New("internal error, see the daemon's log"))
		}
	}()
	value, err := m.handle(s, ctx, call.Params)
	if err != nil {
		return nil, failed(m.name, err)
	}
	return value, nil
}

func unknownMethod(name string) *fault {
	reason := "procedure " + briefly(name) + " not found"
	if prefix, _, dotted := strings.Cut(name, "."); dotted {
		reason = "no such subHandler " + briefly(prefix)
	}
	return &fault{wire.CodeUnknown, reason, reason}
}

// briefly cuts a name that may be as long as a body.
func briefly(name string) string { return shortened(name, 200) }
