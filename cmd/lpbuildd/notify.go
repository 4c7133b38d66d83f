package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/client"
)

// notifier tells systemd how the daemon is, for a unit with Type=notify. It
// says nothing when nobody listens, that is without NOTIFY_SOCKET.
type notifier struct {
	log *slog.Logger
	// status answers as the daemon would answer a manager.
	status func(context.Context) (buildd.Status, error)
	poke   chan struct{} // gets a value when the state may have changed
}

func newNotifier(log *slog.Logger) *notifier {
	return &notifier{log: log, poke: make(chan struct{}, 1)}
}

// changed may be called at any time and does not wait.
func (n *notifier) changed() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

// send sends what systemd calls a state: lines of NAME=value.
func (n *notifier) send(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		n.log.Warn("Cannot notify systemd", "error", err)
	}
}

// ready says that the port listens and that the configuration is in use.
func (n *notifier) ready(ctx context.Context) { n.send(daemon.SdNotifyReady + "\n" + n.line(ctx)) }

// reloading begins a reload, which ready ends.
func (n *notifier) reloading() {
	n.send(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// line is what "systemctl status" shows about the builder.
func (n *notifier) line(ctx context.Context) string {
	s, err := n.status(ctx)
	if err != nil {
		return "STATUS=unhealthy: " + err.Error()
	}
	return lineOf(s)
}

func lineOf(s buildd.Status) string {
	switch {
	case s.Drained != "":
		return fmt.Sprintf("STATUS=%s, %s", s.State, s.Drained)
	case s.BuildID == "":
		return fmt.Sprintf("STATUS=%s", s.State)
	}
	return fmt.Sprintf("STATUS=%s %s", s.State, s.BuildID)
}

// run keeps systemd informed until ctx ends. The watchdog is fed only with
// answers: when the handler of the port hangs, so does this loop, and systemd
// restarts the daemon. Builds survive that.
func (n *notifier) run(ctx context.Context) {
	n.ready(ctx)
	defer n.send(daemon.SdNotifyStopping)
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		n.log.Warn("Cannot use the watchdog of systemd", "error", err)
	}
	var tick <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval / 2)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.poke:
			n.send(n.line(ctx))
		case <-tick:
			n.feed(ctx)
		}
	}
}

// feed tells the watchdog that all is well, if it is. A builder becomes a drained
// one without the daemon's doing, so the line is told anew.
func (n *notifier) feed(ctx context.Context) {
	s, err := n.status(ctx)
	switch {
	case err == nil:
		n.send(daemon.SdNotifyWatchdog + "\n" + lineOf(s))
	case ctx.Err() == nil:
		n.log.Error("The daemon does not answer as it should; systemd will restart it", "error", err)
	}
}

// ask makes a function that asks a builder for its status through its own
// handler, as a manager does, but without the network: [access] allow need not
// let this machine in.
func ask(handler http.Handler) (func(context.Context) (buildd.Status, error), error) {
	own, err := client.New("http://localhost", client.WithHTTPClient(&http.Client{Transport: direct{handler}}))
	if err != nil {
		return nil, err
	}
	return own.Status, nil
}

// direct is a transport that calls a handler.
type direct struct{ handler http.Handler }

// RoundTrip returns when the handler does.
func (d direct) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
	}()
	a := &answer{header: http.Header{}, code: http.StatusOK}
	d.handler.ServeHTTP(a, r.WithContext(rpc.Unheard(r.Context())))
	return &http.Response{
		StatusCode: a.code, Status: http.StatusText(a.code), Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer collects what a handler writes.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header are the headers of the answer.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the status.
func (a *answer) WriteHeader(code int) { a.code = code }

// Write keeps the body.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
