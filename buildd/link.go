package buildd

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"lpbuildd/buildd/job"
)

// link is a connection to the supervisor of a build.
type link struct {
	conn   net.Conn
	events *bufio.Reader
	mu     sync.Mutex // guards writes to conn
}

// connect connects to the supervisor of the build in dir.
func connect(ctx context.Context, h Helpers, dir string) (*link, error) {
	conn, err := h.Connect(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &link{conn: conn, events: bufio.NewReader(conn)}, nil
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

// abort asks the supervisor of a build to abort, and logs if that fails: the build
// then ends with the limit for aborts, or the next connection is asked.
func (l *link) abort(ctx context.Context, log *slog.Logger, build attempt) {
	if err := l.sendAbort(); err != nil {
		log.WarnContext(ctx, "Cannot send the abort to the supervisor", "build_id", build.buildID, "error", err)
	}
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
