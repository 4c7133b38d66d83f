//go:build integration

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"lpbuildd/rpc/xmlrpc"
)

// poller asks for the status over one kept connection, as cheaply as it can:
// client and daemon share the processors.
type poller struct {
	conn    net.Conn
	request []byte
	buf     []byte
	want    []byte // must be in every answer
}

func newPoller(ctx context.Context, host, want string) (*poller, error) {
	doc, err := xmlrpc.AppendCall(nil, "status", nil)
	if err != nil {
		return nil, err
	}
	request := fmt.Appendf(nil, "POST /rpc HTTP/1.1\r\nHost: %s\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", host, len(doc), doc)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	return &poller{conn: conn, request: request, buf: make([]byte, 64<<10), want: []byte(want)}, nil
}

const (
	endOfHeader   = "\r\n\r\n"
	contentLength = "Content-Length: "
)

// ask makes one request and reads the answer, which has a Content-Length.
func (p *poller) ask() error {
	if _, err := p.conn.Write(p.request); err != nil {
		return err
	}
	have, need := 0, -1
	for have != need {
		n, err := p.conn.Read(p.buf[have:])
		if err != nil {
			return err
		}
		have += n
		if need < 0 {
			if need, err = lengthOf(p.buf[:have]); err != nil {
				return err
			}
		}
	}
	if !bytes.HasPrefix(p.buf, []byte("HTTP/1.1 200 ")) || !bytes.Contains(p.buf[:have], p.want) {
		return fmt.Errorf("expected %s in the answer, got %.2000s", p.want, p.buf[:have])
	}
	return nil
}

// lengthOf is the length of the whole answer, -1 if its header is incomplete.
func lengthOf(answer []byte) (int, error) {
	end := bytes.Index(answer, []byte(endOfHeader))
	if end < 0 {
		return -1, nil
	}
	_, rest, found := bytes.Cut(answer[:end+2], []byte(contentLength))
	if !found {
		return 0, errors.New("the answer has no Content-Length")
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r\n"))
	body, err := strconv.Atoi(string(digits))
	return end + len(endOfHeader) + body, err
}

// pollers are many clients that ask at the same time.
type pollers struct {
	stop    context.CancelCauseFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	waits   []time.Duration
	err     error
	started time.Time
	took    time.Duration
}

// startPollers starts n clients. Each asks every interval, beginning at a
// moment of its own; with 0 it asks again as soon as it has the answer.
func startPollers(b *testing.B, host string, n int, interval time.Duration, want string) *pollers {
	b.Helper()
	ctx, stop := context.WithCancelCause(b.Context())
	p := &pollers{stop: stop, started: time.Now()}
	for i := range n {
		client, err := newPoller(ctx, host, want)
		must(b, err)
		p.wg.Go(func() {
			defer func() { _ = client.conn.Close() }()
			p.poll(ctx, client, interval, interval*time.Duration(i)/time.Duration(n))
		})
	}
	return p
}

// poll measures from the moment of the request, or, if the last answer came
// after the next request was due, from when it was due: so a daemon that stalls
// cannot hide it by being asked less, and the lateness of this program's timers
// does not count as the daemon's.
func (p *pollers) poll(ctx context.Context, client *poller, interval, offset time.Duration) {
	var waits []time.Duration
	due := p.started.Add(offset)
	for ctx.Err() == nil {
		began := due
		if now := time.Now(); interval == 0 || now.Before(due) {
			pause(ctx, due.Sub(now))
			began = time.Now()
		}
		if ctx.Err() != nil {
			break
		}
		if err := client.ask(); err != nil {
			p.fail(err)
			return
		}
		waits = append(waits, time.Since(began))
		due = due.Add(interval)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = append(p.waits, waits...)
}

// pause waits, or lets others go first: a client whose answers come at once
// would go on alone.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		runtime.Gosched()
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (p *pollers) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the daemon closed the connection: %w", err)
	}
	p.err = errors.Join(p.err, err)
}

// finish stops the clients.
func (p *pollers) finish(b *testing.B) {
	b.Helper()
	p.stop(nil)
	p.wg.Wait()
	p.took = time.Since(p.started)
	must(b, p.err)
}

// latencies are how long answers took, and how many there were.
type latencies struct {
	waits []time.Duration
	took  time.Duration
}

func (l *latencies) add(p *pollers) {
	l.waits = append(l.waits, p.waits...)
	l.took += p.took
}

// report makes metrics of them.
func (l *latencies) report(b *testing.B) {
	b.Helper()
	if len(l.waits) == 0 {
		b.Fatal("nobody asked")
	}
	slices.Sort(l.waits)
	at := func(share float64) float64 {
		return milliseconds(l.waits[int(share*float64(len(l.waits)-1))])
	}
	b.ReportMetric(at(0.50), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(len(l.waits))/l.took.Seconds(), "req/s")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
