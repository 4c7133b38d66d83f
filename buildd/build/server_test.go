package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/ordered"
)

// served is a server with its socket.
type served struct {
	*testing.T
	*server
	path   string
	ctx    context.Context //nolint:containedctx // of one test
	aborts chan struct{}
}

func serve(t *testing.T) *served {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{T: t, path: filepath.Join(dir, "socket"), aborts: make(chan struct{}, 100)}
	ln, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	s.ctx = ctx
	s.server, err = newServer(file, func() {
		cancel(errAborted)
		s.aborts <- struct{}{}
	})
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.close()
		cancel(nil)
		_ = ln.Close()
		_ = os.RemoveAll(dir)
	})
	return s
}

// peer is a daemon's end of a connection.
type peer struct {
	*testing.T
	net.Conn
	events *bufio.Reader
}

func (s *served) dial() *peer {
	s.Helper()
	c, err := net.Dial("unix", s.path)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = c.Close() })
	return &peer{T: s.T, Conn: c, events: bufio.NewReader(c)}
}

func (p *peer) say(m job.Message) {
	p.Helper()
	if err := json.NewEncoder(p).Encode(m); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) hear() job.Event {
	p.Helper()
	var e job.Event
	line, err := p.events.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &e)
	}
	if err != nil {
		p.Fatal(err)
	}
	return e
}

func request(id string) job.Message { return job.Message{Request: &job.Request{BuildID: id}} }

func TestOneRequestCounts(t *testing.T) {
	s := serve(t)
	p := s.dial()
	if e := p.hear(); e.Ready {
		t.Errorf("before the request: %+v", e)
	}
	p.say(request("B-1"))
	p.say(request("B-2"))
	r, err := s.request(s.ctx)
	if err != nil || r.BuildID != "B-1" {
		t.Errorf("got %q, %v", r.BuildID, err)
	}
	if e := p.hear(); !e.Ready {
		t.Errorf("after the request: %+v", e)
	}
	// Others are neither accepted nor in the way of what follows them.
	p.say(job.Message{Abort: true})
	<-s.aborts
}

func TestNumbersInARequestKeepTheirDigits(t *testing.T) {
	s := serve(t)
	p := s.dial()
	p.say(job.Message{Request: &job.Request{Args: map[string]any{"n": int64(1)<<62 + 1}}})
	r, err := s.request(s.ctx)
	if n, ok := r.Args["n"].(json.Number); !ok || n != "4611686018427387905" || err != nil {
		t.Errorf("got %v, %v", r.Args["n"], err)
	}
}

func TestStructsInARequestKeepTheirOrder(t *testing.T) {
	s := serve(t)
	p := s.dial()
	args := ordered.Struct{{Name: "z", Value: "1"}, {Name: "a", Value: []any{ordered.Struct{{Name: "y", Value: "2"}, {Name: "b", Value: "3"}}}}}
	files := ordered.Map[string]{{Name: "z.dsc", Value: "1"}, {Name: "a.dsc", Value: "2"}}
	p.say(job.Message{Request: &job.Request{Files: files, Args: map[string]any{"struct": args}}})
	r, err := s.request(s.ctx)
	if err != nil || !reflect.DeepEqual(r.Files, files) || !reflect.DeepEqual(r.Args["struct"], args) {
		t.Errorf("got %v with %v, %v", r.Files, r.Args, err)
	}
}

func TestAnAbortIsNoReasonToMissTheRequest(t *testing.T) {
	for range 20 {
		s := serve(t)
		p := s.dial()
		p.say(request("B-1"))
		p.say(job.Message{Abort: true})
		<-s.aborts
		if r, err := s.request(s.ctx); err != nil || r.BuildID != "B-1" {
			t.Fatalf("got %q, %v", r.BuildID, err)
		}
	}
}

func TestAnAbortMayOvertakeTheRequest(t *testing.T) {
	s := serve(t)
	first, second := s.dial(), s.dial()
	second.say(job.Message{Abort: true})
	<-s.aborts
	first.say(request("B-1"))
	if r, err := s.request(s.ctx); err != nil || r.BuildID != "B-1" {
		t.Fatalf("got %q, %v", r.BuildID, err)
	}
}

// inBubble is a server that nobody can connect to, whose clock is that of the bubble.
func inBubble(t *testing.T, f func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) { f(t, &server{requests: make(chan job.Request, 1)}) })
}

func TestAnAbortInsteadOfARequest(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errAborted)
		began := time.Now()
		if _, err := s.request(ctx); !errors.Is(err, errAborted) || time.Since(began) != overtaken {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestARequestThatNeverComes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		began := time.Now()
		_, err := s.request(t.Context())
		if err == nil || !strings.Contains(err.Error(), "no request came within 1m0s") || time.Since(began) != time.Minute {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

func TestARequestThatNobodyWaitsForHoldsNothingUp(t *testing.T) {
	s := serve(t) // which is closed at the end
	p := s.dial()
	p.say(request("B-1"))
	for e := p.hear(); !e.Ready; e = p.hear() {
	}
}

func TestADaemonThatDiedHasHandedOverItsRequest(t *testing.T) {
	s := serve(t)
	for range 50 {
		p := s.dial()
		p.say(request("B-1"))
		_ = p.Close()
	}
	if r, err := s.request(s.ctx); err != nil || r.BuildID != "B-1" {
		t.Errorf("got %q, %v", r.BuildID, err)
	}
}

func TestEveryConnectionHearsWhereTheBuildIs(t *testing.T) {
	s := serve(t)
	first := s.dial()
	first.hear()
	s.update(func(e *job.Event) { e.Stage = "unpack" })
	if e := first.hear(); e.Stage != "unpack" {
		t.Errorf("the first heard %+v", e)
	}
	_ = first.Close()
	second := s.dial()
	if e := second.hear(); e.Stage != "unpack" {
		t.Errorf("the second heard %+v", e)
	}
	s.update(func(e *job.Event) { e.Done = true })
	if e := second.hear(); !e.Done {
		t.Errorf("the second heard %+v", e)
	}
}

// TestADaemonThatDoesNotReadHoldsNothingUp: it loses its connection, others do
// not.
func TestADaemonThatDoesNotReadHoldsNothingUp(t *testing.T) {
	s := serve(t)
	slow := s.dial()
	slow.hear()
	s.mu.Lock()
	impatient := maps.Clone(s.conns) // has the slow one
	s.patience = func(c *net.UnixConn) time.Duration {
		if impatient[c] {
			return time.Millisecond
		}
		return time.Hour
	}
	s.mu.Unlock()
	quick := s.dial()
	quick.hear()
	// Each event is small enough to be sent before anybody reads; together they are
	// not.
	big := map[string]any{"jobs": strings.Repeat("x", 1<<15)}
	for i := range 40 {
		s.update(func(e *job.Event) { e.Extra, e.Stage = big, fmt.Sprint(i) })
		if e := quick.hear(); e.Stage != fmt.Sprint(i) {
			t.Fatalf("the other one heard of %q instead of %d", e.Stage, i)
		}
	}
	s.update(func(e *job.Event) { e.Done = true })
	if e := quick.hear(); !e.Done {
		t.Error("the other one did not hear of the end")
	}
	// The slow one notices that it missed something, and is still listened to.
	slow.say(job.Message{Abort: true})
	<-s.aborts
	for {
		line, err := slow.events.ReadBytes('\n')
		if err != nil {
			break
		}
		var e job.Event
		if json.Unmarshal(line, &e) == nil && e.Done {
			t.Fatal("it missed nothing")
		}
	}
}

func TestWhatIsNoMessageEndsTheConnection(t *testing.T) {
	s := serve(t)
	p := s.dial()
	p.hear()
	if _, err := p.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.events.ReadByte(); err == nil {
		t.Error("the connection is still open")
	}
	s.dial().say(request("B-1"))
	if r, err := s.request(s.ctx); err != nil || r.BuildID != "B-1" {
		t.Errorf("got %q, %v", r.BuildID, err)
	}
}
