// Package notify tells systemd how the daemon is, for a unit with Type=notify. The unprivileged daemon runs it; it asks the
// daemon's own handler, writes to systemd's socket, and touches nothing else.
package notify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"lpbuildd/buildd"
)

// Notifier tells systemd how a daemon is.
type Notifier struct {
	log *slog.Logger
	// status answers as the daemon would answer a manager.
	status func(context.Context) (buildd.Status, error)
	poke   chan struct{} // gets a value when the state may have changed
	// send sends what systemd calls a state: lines of NAME=value.
	send func(state string) error
	// interval is how often the watchdog wants a word, 0 is never.
	interval time.Duration
}

// New makes a notifier. It says nothing when nobody listens, that is without
// NOTIFY_SOCKET in the environment.
func New(log *slog.Logger) *Notifier {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("Cannot use the watchdog of systemd", "error", err)
	}
	send := func(state string) error {
		_, err := daemon.SdNotify(false, state)
		return err
	}
	return &Notifier{log: log, poke: make(chan struct{}, 1), send: send, interval: interval}
}

// Ask says how to learn the status of the daemon. It comes before all else but
// Changed.
func (n *Notifier) Ask(status func(context.Context) (buildd.Status, error)) { n.status = status }

// Changed may be called at any time, when the state may have changed, and does not
// wait.
func (n *Notifier) Changed() {
	select {
	case n.poke <- struct{}{}:
	default:
	}
}

func (n *Notifier) tell(state string) {
	if err := n.send(state); err != nil {
		n.log.Warn("Cannot notify systemd", "error", err)
	}
}

// Ready says that the port listens and that the configuration is in use.
func (n *Notifier) Ready(ctx context.Context) { n.tell(daemon.SdNotifyReady + "\n" + n.line(ctx)) }

// Reloading begins a reload, which Ready ends.
func (n *Notifier) Reloading() {
	n.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// line is what "systemctl status" shows about the builder.
func (n *Notifier) line(ctx context.Context) string {
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

// Run keeps systemd informed until ctx ends. The watchdog is fed only with
// answers: when the handler of the port hangs, so does this loop, and systemd
// restarts the daemon. Builds survive that.
func (n *Notifier) Run(ctx context.Context) {
	n.Ready(ctx)
	defer n.tell(daemon.SdNotifyStopping)
	var tick <-chan time.Time
	if n.interval > 0 {
		ticker := time.NewTicker(n.interval / 2)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.poke:
			n.tell(n.line(ctx))
		case <-tick:
			n.feed(ctx)
		}
	}
}

// feed tells the watchdog that all is well, if it is. A builder becomes a drained
// one without the daemon's doing, so the line is told anew.
func (n *Notifier) feed(ctx context.Context) {
	s, err := n.status(ctx)
	switch {
	case err == nil:
		n.tell(daemon.SdNotifyWatchdog + "\n" + lineOf(s))
	case ctx.Err() == nil:
		n.log.Error("The daemon does not answer as it should; systemd will restart it", "error", err)
	}
}
