package buildd

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

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// errNoSupervisor reports that nobody listens on the build's socket.
var errNoSupervisor = errors.New("the supervisor of the build is gone")

// link is a connection to the supervisor of a build.
type link struct {
	conn   net.Conn
	events *bufio.Reader
	began  bool       // a stage of the build was seen; used by follow only
	mu     sync.Mutex // guards writes to conn
}

// throughFolder calls do with a short path of the socket in dir, since socket
// paths are limited to 107 bytes and folders are not.
func throughFolder(dir string, do func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", dir, err)
	}
	defer func() { _ = unix.Close(fd) }()
	return do(fmt.Sprintf("/proc/self/fd/%d/%s", fd, state.SocketName))
}

// listen binds the socket of a build and returns it for the supervisor to
// inherit. The caller closes it; the path stays.
func listen(ctx context.Context, dir string) (*os.File, error) {
	var file *os.File
	err := throughFolder(dir, func(path string) error {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
		if err != nil {
			return err
		}
		socket, ok := ln.(*net.UnixListener)
		if !ok {
			return errors.Join(errors.New("it is no Unix socket"), ln.Close())
		}
		socket.SetUnlinkOnClose(false)
		file, err = socket.File()
		return errors.Join(err, ln.Close())
	})
	if err != nil {
		return nil, fmt.Errorf("cannot bind the socket of the build: %w", err)
	}
	if err := os.Chmod(state.Build(dir).Socket(), 0o600); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// connect connects to the supervisor of the build in dir. It is
// errNoSupervisor when there is none; there is no time in between, because the
// socket listens from before the supervisor's start until its death.
func connect(ctx context.Context, dir string) (*link, error) {
	var l *link
	err := throughFolder(dir, func(path string) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return err
		}
		l = &link{conn: conn, events: bufio.NewReader(conn)}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoSupervisor, err)
	}
	return l, nil
}

// sendWait is how long a supervisor may take to read a message, which matters
// only for one that is larger than the buffer of a socket.
const sendWait = 20 * time.Second

// encode makes of a message what send takes.
func encode(m job.Message) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("cannot put the request into JSON: %w", err)
	}
	return append(data, '\n'), nil
}

// send sends one message.
func (l *link) send(message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendWait)); err != nil {
		return err
	}
	_, err := l.conn.Write(message)
	return err
}

// sendAbort asks the supervisor to abort.
func (l *link) sendAbort() error {
	message, err := encode(job.Message{Abort: true})
	if err != nil {
		return err
	}
	return l.send(message)
}

// receive waits for the next event.
func (l *link) receive() (job.Event, error) {
	var e job.Event
	line, err := l.events.ReadBytes('\n')
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(line, &e)
}

// close ends the connection; a receive that waits returns.
func (l *link) close() { _ = l.conn.Close() }

// receiveWithin makes a receive that takes longer fail; 0 is no limit.
func (l *link) receiveWithin(wait time.Duration) {
	deadline := time.Now().Add(wait)
	if wait == 0 {
		deadline = time.Time{}
	}
	_ = l.conn.SetReadDeadline(deadline)
}
