package rpc

import (
	"bufio"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// crowd serves a handler with room for a few connections.
type crowd struct {
	*testing.T
	limit *connections
}

func newCrowd(t *testing.T, peaceful, most int, h http.Handler, wrap func(net.Listener) net.Listener) crowd {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := NewHTTPServer(h, slog.New(slog.DiscardHandler))
	c := crowd{t, limitConnections(server, wrap(ln), peaceful, most)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(c.limit)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return c
}

func asItIs(ln net.Listener) net.Listener { return ln }

// dial opens a connection and sends the beginning of a request, or nothing.
func (c crowd) dial(text string) net.Conn {
	c.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(c.Context(), "tcp", c.limit.Addr().String())
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		c.Fatal(err)
	}
	return conn
}

// answered makes a whole request and wants an answer.
func (c crowd) answered(conn net.Conn) {
	c.Helper()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		c.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		c.Fatal(err)
	}
	_ = resp.Body.Close()
}

// isClosed waits for the other side to close the connection.
func (c crowd) isClosed(conn net.Conn) {
	c.Helper()
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
		c.Error(err)
	}
}

func TestWaitingConnectionsMakeRoom(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	c := newCrowd(t, 8, 12, h, asItIs)
	kept := c.dial("")
	c.answered(kept)
	// Silent ones, and such that stop in the middle of a request.
	var waiting []net.Conn
	for i := range 300 {
		waiting = append(waiting, c.dial([]string{"", "GET", "POST /rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n<"}[i%3]))
	}
	c.answered(c.dial(""))
	for _, conn := range append(waiting[:200], kept) {
		c.isClosed(conn)
	}
}

func TestConnectionsAtWorkAreLeftAlone(t *testing.T) {
	on, begun := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			working(r.Context(), calling)
			begun <- struct{}{}
			<-on
		}
	})
	c := newCrowd(t, 4, 6, h, asItIs)
	long := make([]net.Conn, 4)
	for i := range long {
		long[i] = c.dial("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
		<-begun
	}
	for range 50 {
		c.dial("")
	}
	c.answered(c.dial(""))
	close(on)
	for _, conn := range long {
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
}

// pipes is a listener in memory, for tests that have their own time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error {
	close(p.closed)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// newPipes serves a handler, in a synctest bubble, with room for a few connections,
// until the test ends.
func newPipes(t *testing.T, peaceful, most int, h http.Handler) pipes {
	t.Helper()
	p := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := NewHTTPServer(h, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(limitConnections(server, p, peaceful, most))
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return p
}

// get opens a connection and asks for a path, and waits for all to be as busy as
// they can.
func (p pipes) get(t *testing.T, path string) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	p.conns <- far
	t.Cleanup(func() { _ = near.Close() })
	go func() { _, _ = io.WriteString(near, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n") }() // or it is closed before
	synctest.Wait()
	return near
}

// wantAnswer waits for it.
func wantAnswer(t *testing.T, conn net.Conn) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// TestNoMoreConnectionsThanThereMayBe: those beyond wait in the kernel until one
// that is at work has ended.
func TestNoMoreConnectionsThanThereMayBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := make(chan struct{})
		var begun atomic.Int32
		p := newPipes(t, 2, 3, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			working(r.Context(), calling)
			begun.Add(1)
			<-on
		}))
		var conns []net.Conn
		for range 4 {
			conns = append(conns, p.get(t, "/"))
		}
		<-time.After(time.Hour)
		if n := begun.Load(); n != 3 {
			t.Errorf("%d calls are carried out", n)
		}
		close(on)
		for _, conn := range conns {
			wantAnswer(t, conn)
		}
	})
}

// TestFilesThatNobodyTakesMakeRoom, when everything else is at work.
func TestFilesThatNobodyTakesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := make(chan struct{})
		p := newPipes(t, 2, 3, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/call":
				working(r.Context(), calling)
			case "/file":
				working(r.Context(), sending)
			default:
				return
			}
			<-on
		}))
		file, calls := p.get(t, "/file"), []net.Conn{p.get(t, "/call"), p.get(t, "/call")}
		start := time.Now()
		wantAnswer(t, p.get(t, "/"))
		if took := time.Since(start); took < stalled || took > stalled*5/4 {
			t.Errorf("there was room after %v", took)
		}
		if _, err := io.Copy(io.Discard, file); err != nil {
			t.Error(err)
		}
		close(on)
		for _, conn := range calls {
			wantAnswer(t, conn)
		}
	})
}

func TestWhoIsClosedFirst(t *testing.T) {
	c := limitConnections(&http.Server{}, nil, 1, 1)
	var order []net.Conn
	for _, about := range []struct {
		busy activity
		age  time.Duration
	}{
		{0, time.Hour}, {0, 0}, {sending, 2 * time.Hour}, {sending, time.Hour}, // in this order,
		{sending, 0}, {calling, 3 * time.Hour}, {0, 3 * time.Hour}, // and those not: the last is the newest
	} {
		conn, other := net.Pipe()
		t.Cleanup(func() { _ = errors.Join(conn.Close(), other.Close()) })
		c.since[conn] = time.Now().Add(-about.age)
		if about.busy != 0 {
			c.atWork[conn] = about.busy
		}
		order = append(order, conn)
	}
	newest := order[len(order)-1]
	for i, conn := range order[:4] {
		if _, there := c.since[conn]; !c.closeOne(newest) || !there || len(c.since) != len(order)-1-i {
			t.Errorf("it was not the turn of number %d", i)
		}
		if _, there := c.since[conn]; there {
			t.Errorf("number %d is still there", i)
		}
	}
	if c.closeOne(newest) {
		t.Error("one at work, or the newest, was closed")
	}
}

// exhausted is a listener with descriptors for two connections.
type exhausted struct {
	net.Listener
	c      atomic.Pointer[connections]
	failed atomic.Int32
}

func (e *exhausted) Accept() (net.Conn, error) {
	if c := e.c.Load(); c != nil {
		c.mu.Lock()
		n := len(c.since)
		c.mu.Unlock()
		if n >= 2 {
			e.failed.Add(1)
			return nil, &net.OpError{Op: "accept", Err: unix.EMFILE}
		}
	}
	return e.Listener.Accept()
}

func TestWithoutDescriptorsOneIsClosedForAnother(t *testing.T) {
	e := &exhausted{}
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	c := newCrowd(t, 100, 200, h, func(ln net.Listener) net.Listener {
		e.Listener = ln
		return e
	})
	first := c.dial("")
	c.answered(first)
	e.c.Store(c.limit)
	second := c.dial("")
	third := c.dial("")
	c.isClosed(first)
	c.isClosed(second)
	c.answered(third)
	if n := e.failed.Load(); n == 0 || n > 10 {
		t.Errorf("accept failed %d times", n)
	}
}

func TestLimitsLeaveDescriptors(t *testing.T) {
	for descriptors, want := range map[uint64][2]int{0: {4, 6}, 64: {16, 24}, 1024: {496, 744}, 4096: {512, 1024}, 1 << 63: {512, 1024}} {
		if peaceful, most := limitsOf(descriptors); peaceful != want[0] || most != want[1] {
			t.Errorf("of %d: %d and %d connections, want %d", descriptors, peaceful, most, want)
		}
	}
	if peaceful, most := connectionLimits(); peaceful < 4 || most < peaceful {
		t.Errorf("%d and %d connections", peaceful, most)
	}
}
