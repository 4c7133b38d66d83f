package rpc

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MaxConnections is how many connections there may be before those that wait for
// their clients are closed in favour of new ones, if there are descriptors enough.
const MaxConnections = 512

// reservedDescriptors are kept for the journal, the logs, builds, and the next
// connection.
const reservedDescriptors = 32

// connectionLimits are for this process: how many connections are left in peace,
// and how many there are at most, when all of them are at work. Work may need
// another descriptor for each.
func connectionLimits() (peaceful, most int) {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return MaxConnections, 2 * MaxConnections
	}
	return limitsOf(limit.Cur)
}

// limitsOf are those of a process with so many descriptors.
func limitsOf(descriptors uint64) (peaceful, most int) {
	free := max(int(min(descriptors, 1<<20))-reservedDescriptors, 8)
	return min(free/2, MaxConnections), min(3*free/4, 2*MaxConnections)
}

// stalled is how long a client may take for a part of a file, a MiB, when others
// want its connection.
const stalled = 10 * time.Second

// connections is a listener that closes connections which wait for their clients
// to make room for new ones, the longest waiting first; when there are no such, those
// whose clients do not take the file that they asked for. Others that get a file,
// or whose call is being carried out, are at work and left alone.
type connections struct {
	net.Listener
	peaceful, most int
	stalled        time.Duration

	mu     sync.Mutex
	change *sync.Cond // fewer connections, or fewer at work, or closed
	since  map[net.Conn]time.Time
	atWork map[net.Conn]activity
	closed bool
}

// activity is what a connection is at work with; 0 is nothing.
type activity int

const (
	calling activity = iota + 1
	sending
)

// LimitConnections makes a server keep within the descriptors of this process,
// whatever clients hold open. The server must serve the listener that it returns.
func LimitConnections(server *http.Server, ln net.Listener) net.Listener {
	peaceful, most := connectionLimits()
	return limitConnections(server, ln, peaceful, most)
}

func limitConnections(server *http.Server, ln net.Listener, peaceful, most int) *connections {
	c := &connections{
		Listener: ln, peaceful: peaceful, most: most, stalled: stalled,
		since: map[net.Conn]time.Time{}, atWork: map[net.Conn]activity{},
	}
	c.change = sync.NewCond(&c.mu)
	server.ConnState = c.changed
	server.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, workKey{}, func(a activity) { c.works(conn, a) })
	}
	return c
}

type workKey struct{}

// working says that the request has been read, and that its connection is not
// waiting for its client any more. With each part of a file it is said again.
func working(ctx context.Context, a activity) {
	if note, ok := ctx.Value(workKey{}).(func(activity)); ok {
		note(a)
	}
}

// Accept waits for a connection. Without descriptors, and when nobody can be
// closed, the error makes net/http wait for a while.
func (c *connections) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		switch {
		case err == nil && c.admit(conn):
			return conn, nil
		case err == nil:
			return nil, errors.Join(net.ErrClosed, conn.Close())
		case !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) || !c.makeRoom(0, nil):
			return nil, err
		}
	}
}

// Close stops listening; connections stay.
func (c *connections) Close() error {
	c.mu.Lock()
	c.closed = true
	c.change.Broadcast()
	c.mu.Unlock()
	return c.Listener.Close()
}

// admit makes room for a new connection. While all others are at work, and there
// are too many, it has to wait. It is false when the listener is closed.
func (c *connections) admit(conn net.Conn) bool {
	c.mu.Lock()
	c.since[conn] = time.Now()
	c.mu.Unlock()
	c.makeRoom(c.peaceful, conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.since) > c.most && !c.closed && len(c.atWork) >= c.most && !c.closeOne(conn) {
		again := time.AfterFunc(c.stalled/4, c.change.Broadcast) // one may have stalled by then
		c.change.Wait()
		again.Stop()
	}
	return !c.closed
}

// makeRoom closes a connection, save for the new one, if there are more than so
// many, and says whether it did.
func (c *connections) makeRoom(enough int, newest net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.since) > enough && c.closeOne(newest)
}

// closeOne closes the connection that has been waiting for longest, or else has
// stalled for longest. It is for the holder of the lock.
func (c *connections) closeOne(newest net.Conn) bool {
	var oldest net.Conn
	late := time.Now().Add(-c.stalled)
	for conn, since := range c.since {
		busy := c.atWork[conn]
		if conn == newest || busy == calling || busy == sending && since.After(late) {
			continue
		}
		if oldest == nil || busy < c.atWork[oldest] || busy == c.atWork[oldest] && since.Before(c.since[oldest]) {
			oldest = conn
		}
	}
	if oldest == nil {
		return false
	}
	c.forget(oldest)
	_ = oldest.Close() // its client is told in no other way
	return true
}

// forget is for the holder of the lock.
func (c *connections) forget(conn net.Conn) {
	delete(c.since, conn)
	delete(c.atWork, conn)
	c.change.Broadcast()
}

func (c *connections) works(conn net.Conn, a activity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.since[conn]; there {
		c.atWork[conn], c.since[conn] = a, time.Now()
	}
}

// changed is what net/http tells about a connection.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.since[conn]; !there {
		return
	}
	switch state {
	case http.StateActive, http.StateIdle:
		c.since[conn] = time.Now()
		delete(c.atWork, conn)
		c.change.Broadcast()
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	case http.StateNew:
	}
}
