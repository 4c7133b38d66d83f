package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
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
	r, err := s.request(s.ctx, time.Minute)
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
	r, err := s.request(s.ctx, time.Minute)
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
	r, err := s.request(s.ctx, time.Minute)
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
		if r, err := s.request(s.ctx, time.Minute); err != nil || r.BuildID != "B-1" {
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
	if r, err := s.request(s.ctx, time.Minute); err != nil || r.BuildID != "B-1" {
		t.Fatalf("got %q, %v", r.BuildID, err)
	}
}

func TestAnAbortInsteadOfARequest(t *testing.T) {
	s := serve(t)
	s.dial().say(job.Message{Abort: true})
	if _, err := s.request(s.ctx, time.Minute); !errors.Is(err, errAborted) {
		t.Errorf("got %v", err)
	}
}

func TestARequestThatNeverComes(t *testing.T) {
	s := serve(t)
	s.dial()
	if _, err := s.request(s.ctx, time.Millisecond); err == nil || !strings.Contains(err.Error(), "no request came") {
		t.Errorf("got %v", err)
	}
	// One that comes afterwards holds nothing up when the server closes.
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
	if r, err := s.request(s.ctx, time.Minute); err != nil || r.BuildID != "B-1" {
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
	slow, quick := s.dial(), s.dial()
	quick.hear()
	heard := make(chan int)
	go func() {
		n := 0
		for {
			line, err := quick.events.ReadBytes('\n')
			var e job.Event
			if err != nil || json.Unmarshal(line, &e) != nil || e.Done {
				heard <- n
				return
			}
			n++
		}
	}()
	const updates = 20
	big := map[string]any{"jobs": strings.Repeat("x", 1<<16)}
	for range updates {
		s.update(func(e *job.Event) { e.Extra = big })
	}
	s.update(func(e *job.Event) { e.Done = true })
	if n := <-heard; n != updates {
		t.Errorf("the other one heard %d of %d", n, updates)
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
	if r, err := s.request(s.ctx, time.Minute); err != nil || r.BuildID != "B-1" {
		t.Errorf("got %q, %v", r.BuildID, err)
	}
}
