package proxy

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

const (
	// maxConnections keeps a build from using up the files that its supervisor
	// needs for cleaning up. More clients wait.
	maxConnections = 1024
	maxHeader      = 256 << 10
)

var errClosed = errors.New("the proxy was closed")

// options say how a local server behaves.
type options struct {
	listen netip.AddrPort
	allow  []netip.Prefix
	header time.Duration
	log    *accessLog
	// each request gets a line in the log.
	each bool
	// handle answers a request, whose context ends with the server and not when
	// the client half-closes.
	handle func(*exchange, *http.Request)
}

// local is an HTTP server for one build. A connection carries one request, so
// nothing of one request can be taken for a part of the next.
type local struct {
	addr   netip.AddrPort
	finish context.CancelCauseFunc
	ended  chan struct{} // closed when nothing runs any more
}

func listen(ctx context.Context, o options) (*local, error) {
	if len(o.allow) == 0 {
		return nil, errors.New("nobody is allowed to use it")
	}
	for _, p := range o.allow {
		if p.Bits() <= 0 {
			return nil, fmt.Errorf("everybody could use it: %s", p)
		}
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // the kernel moves the bytes of tunnels only between plain TCP sockets
	l, err := config.Listen(ctx, "tcp", o.listen.String())
	if err != nil {
		return nil, listenError(o.listen, err)
	}
	tcp := l.(*net.TCPListener)
	life, finish := context.WithCancelCause(ctx)
	h := &handler{options: o}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(life, w, r) }),
		ReadHeaderTimeout: o.header,
		MaxHeaderBytes:    maxHeader,
		// "OPTIONS *" would be answered without asking who wants to know.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(noteWriter{o.log}, "", 0),
	}
	server.SetKeepAlivesEnabled(false)
	context.AfterFunc(life, func() { _ = server.Close() })
	s := &local{addr: tcp.Addr().(*net.TCPAddr).AddrPort(), finish: finish, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		finish(server.Serve(&slotListener{TCPListener: tcp, slots: make(chan struct{}, maxConnections), over: life.Done()}))
		h.drain()
	}()
	return s, nil
}

func listenError(addr netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("another program listens on %s already: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this machine does not have the address %s: %w", addr.Addr(), err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("this user may not listen on port %d: %w", addr.Port(), err)
	}
	return err
}

func (s *local) close(ctx context.Context) error {
	s.finish(errClosed)
	select {
	case <-s.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("cannot end all requests of the proxy on %s: %w", s.addr, context.Cause(ctx))
	}
}

// handler runs the requests of a local server.
type handler struct {
	options

	mu      sync.Mutex
	closed  bool // guarded by mu
	running sync.WaitGroup
}

func (h *handler) serve(life context.Context, w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		panic(http.ErrAbortHandler)
	}
	defer h.running.Done()
	x := &exchange{ResponseWriter: w}
	if !h.allowed(r.RemoteAddr) {
		http.Error(x, "This proxy serves one build, and this address is not its.", http.StatusForbidden)
		return
	}
	if h.each {
		defer h.log.request(x, r)
	}
	// net/http takes a client that has half-closed for one that is gone.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	defer cancel(nil)
	defer context.AfterFunc(life, func() { cancel(context.Cause(life)) })()
	h.handle(x, r.WithContext(ctx)) //nolint:contextcheck // it ends with life instead
}

func (h *handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.running.Add(1)
	}
	return !h.closed
}

// drain waits for all requests, after which none is served.
func (h *handler) drain() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.running.Wait()
}

func (h *handler) allowed(remote string) bool {
	client, err := netip.ParseAddrPort(remote)
	addr := client.Addr().Unmap().WithZone("")
	for _, p := range h.allow {
		if err == nil && p.Contains(addr) {
			return true
		}
	}
	h.log.once("refused a request of %s, which is not this build", addr)
	return false
}

// slotListener accepts as many connections at a time as there are slots.
type slotListener struct {
	*net.TCPListener
	slots chan struct{}
	over  <-chan struct{}
}

// Accept waits for a free slot first.
func (l *slotListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.over:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptTCP()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{TCPConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// slotConn gives its slot back when it is closed. It embeds the real type, so
// that the kernel can still move the bytes from socket to socket.
type slotConn struct {
	*net.TCPConn
	release func()
}

// Close may be called more than once.
func (c *slotConn) Close() error {
	defer c.release()
	return c.TCPConn.Close()
}
