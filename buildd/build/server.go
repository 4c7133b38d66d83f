package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	requests chan job.Request // gets one value at most
	done     chan struct{}    // closed by close
	wg       sync.WaitGroup

	mu sync.Mutex // guards what follows
	// conns are the open connections; true for those that get events.
	conns map[*net.UnixConn]bool
	event job.Event
	// patience is how long a daemon may take to read an event.
	patience func(*net.UnixConn) time.Duration
}

// newServer serves the listening socket; abort is called for every request to
// abort.
func newServer(socket *os.File, abort func()) (*server, error) {
	ln, err := net.FileListener(socket)
	if err != nil {
		return nil, fmt.Errorf("cannot use standard input as the socket of a build: %w", err)
	}
	s := &server{
		ln: ln, abort: abort, requests: make(chan job.Request, 1), done: make(chan struct{}),
		conns:    map[*net.UnixConn]bool{},
		patience: func(*net.UnixConn) time.Duration { return time.Second },
	}
	s.wg.Go(s.accept)
	return s, nil
}

// close ends all connections and waits for their goroutines.
func (s *server) close() {
	_ = s.ln.Close()
	s.mu.Lock()
	close(s.done)
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// overtaken is how long a request may still be under way on one connection when
// the abort that a new daemon sends on another is here.
const overtaken = 500 * time.Millisecond

// request waits for the request, which may be there although ctx has ended. The
// builder is ready once it has one.
func (s *server) request(ctx context.Context) (job.Request, error) {
	timeout := time.NewTimer(requestWait)
	defer timeout.Stop()
	select {
	case r := <-s.requests:
		return r, nil
	case <-ctx.Done():
	case <-timeout.C:
		return job.Request{}, fmt.Errorf("no request came within %s", requestWait)
	}
	timeout.Reset(overtaken)
	select {
	case r := <-s.requests:
		return r, nil
	case <-timeout.C:
		return job.Request{}, context.Cause(ctx)
	}
}

// update changes the event and sends it to everyone.
func (s *server) update(change func(*job.Event)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.event)
	s.sendAllLocked()
}

// sendAllLocked sends the current event to everyone.
func (s *server) sendAllLocked() {
	for c, listens := range s.conns {
		if listens {
			s.sendLocked(c)
		}
	}
}

// sendLocked sends the current event.
func (s *server) sendLocked(c *net.UnixConn) {
	data, err := json.Marshal(s.event)
	if err != nil {
		return
	}
	// A daemon that does not read must not hold the build up. One that died has
	// perhaps sent something before, which is still to be read.
	_ = c.SetWriteDeadline(time.Now().Add(s.patience(c)))
	if _, err := c.Write(append(data, '\n')); err != nil {
		s.conns[c] = false
		_ = c.CloseWrite()
	}
}

func (s *server) accept() {
	for {
		c, err := s.ln.Accept()
		if err == nil {
			s.welcome(c)
			continue
		}
		// Without listening the build could not be aborted any more.
		select {
		case <-s.done:
			return
		case <-time.After(acceptPause):
		}
	}
}

// acceptPause is the time until another attempt to accept a connection.
const acceptPause = 50 * time.Millisecond

// welcome tells a new connection where the build is, and listens to it.
func (s *server) welcome(conn net.Conn) {
	c, ok := conn.(*net.UnixConn)
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
		ok = false
	default:
	}
	if !ok {
		_ = conn.Close()
		return
	}
	s.conns[c] = true
	s.sendLocked(c)
	s.wg.Go(func() { s.receive(c) })
}

// receive handles what one connection says, until it ends.
func (s *server) receive(c *net.UnixConn) {
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
	s.sendAllLocked()
	return true
}
