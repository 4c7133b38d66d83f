package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"sync"
	"time"

	"lpbuildd/buildd/job"
)

// errAborted is the cause of everything that ends because the manager asked
// for it.
var errAborted = errors.New("the build was aborted by the manager")

// server talks to the daemon, or to one daemon after the other.
type server struct {
	ln       net.Listener
	abort    func()
	requests chan job.Request
	wg       sync.WaitGroup

	mu    sync.Mutex // guards conns and event
	conns map[net.Conn]bool
	event job.Event
}

// newServer serves the listening socket; abort is called for every request to
// abort.
func newServer(socket *os.File, abort func()) (*server, error) {
	ln, err := net.FileListener(socket)
	if err != nil {
		return nil, fmt.Errorf("cannot use standard input as the socket of a build: %w", err)
	}
	s := &server{ln: ln, abort: abort, requests: make(chan job.Request), conns: map[net.Conn]bool{}}
	s.wg.Go(s.accept)
	return s, nil
}

// close ends all connections and waits for their goroutines.
func (s *server) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	for c := range maps.Keys(s.conns) {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// request waits for the request. The builder is ready once it has one.
func (s *server) request(ctx context.Context, wait time.Duration) (job.Request, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case r := <-s.requests:
		return r, nil
	case <-ctx.Done():
		return job.Request{}, context.Cause(ctx)
	case <-timeout.C:
		return job.Request{}, fmt.Errorf("no request came within %s", wait)
	}
}

// update changes the event and sends it to everyone.
func (s *server) update(change func(*job.Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.event)
	for c := range s.conns {
		s.send(c)
	}
}

// send sends the current event. The caller holds mu.
func (s *server) send(c net.Conn) {
	data, err := json.Marshal(s.event)
	if err != nil {
		return
	}
	// A daemon that does not read must not hold the build up.
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := c.Write(append(data, '\n')); err != nil {
		_ = c.Close()
	}
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.send(c)
		s.mu.Unlock()
		s.wg.Go(func() { s.receive(c) })
	}
}

// receive handles what one connection says, until it ends.
func (s *server) receive(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	decoder := json.NewDecoder(bufio.NewReader(c))
	decoder.UseNumber()
	for {
		var m job.Message
		if err := decoder.Decode(&m); err != nil {
			return
		}
		if m.Request != nil && s.first() {
			s.requests <- *m.Request
		}
		if m.Abort {
			s.abort()
		}
	}
}

// first says, once, that there is no request yet, and makes the server ready.
func (s *server) first() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.event.Ready {
		return false
	}
	s.event.Ready = true
	for c := range s.conns {
		s.send(c)
	}
	return true
}
