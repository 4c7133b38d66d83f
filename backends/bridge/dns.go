package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// dnsTimeout is how long the DNS server may take until it answers.
	dnsTimeout = 10 * time.Second
	// dnsPause is between two attempts to reach it.
	dnsPause = 5 * time.Millisecond
	// dnsAnswer is how long one attempt waits: a packet may get lost.
	dnsAnswer = time.Second
	// maxDNSOutput is how much of what it says is kept for an error.
	maxDNSOutput = 4 << 10
)

var errStopped = errors.New("the network of containers is being stopped")

// dnsServer is a dnsmasq that is a plain child of this process: there is no
// file with its number that could become stale.
type dnsServer struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error // of the process; read after done
	said   *tail
}

// startDNS returns when the server answers.
func startDNS(ctx context.Context, c Config) (*dnsServer, error) {
	life, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	d := &dnsServer{cancel: cancel, done: make(chan struct{}), said: &tail{}}
	go func() {
		defer close(d.done)
		d.err = c.Host.Run(life, backends.Command{Argv: dnsArguments(c), Stdout: d.said, Stderr: d.said})
	}()
	if err := d.wait(ctx, net.JoinHostPort(c.HostAddress().Addr().String(), "53")); err != nil {
		d.stop()
		return nil, err
	}
	return d, nil
}

func dnsArguments(c Config) []string {
	argv := []string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=", "--pid-file=", "--log-facility=-",
		"-s", prefix, "-S", "/" + prefix + "/", "--strict-order", "--bind-interfaces",
		"--except-interface=lo", "--interface=" + c.Name, "--listen-address=" + c.HostAddress().Addr().String(),
	}
	if c.DNSUser != "" {
		argv = append(argv, "-u", c.DNSUser)
	}
	return argv
}

// wait asks until there is an answer: a dnsmasq that listens may still find its
// user missing.
func (d *dnsServer) wait(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	for {
		err := askDNS(ctx, address)
		if err == nil {
			return nil
		}
		select {
		case <-d.done:
			return d.failure()
		case <-ctx.Done():
			return fmt.Errorf("cannot reach dnsmasq on %s: %w", address, errors.Join(context.Cause(ctx), err))
		case <-time.After(dnsPause):
		}
	}
}

// askDNS asks for an address in the domain that dnsmasq answers for itself: any
// answer will do.
func askDNS(ctx context.Context, address string) (err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp4", address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	// Header with one question: "lpbuildd", type A, class IN.
	query := "\x6c\x70\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x08" + prefix + "\x00\x00\x01\x00\x01"
	if err := conn.SetDeadline(time.Now().Add(dnsAnswer)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte(query)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, len(query)))
	return err
}

// failure is a host fault: the build has no part in how dnsmasq is started.
func (d *dnsServer) failure() error {
	err := fmt.Errorf("cannot start dnsmasq: %w", errors.Join(d.err, errors.New(d.said.String())))
	var fault *verdict.HostFault
	if errors.As(d.err, &fault) {
		return &verdict.HostFault{Err: err, Advice: fault.Advice}
	}
	return &verdict.HostFault{Err: err, Advice: "Look whether something else serves DNS on the bridge's address."}
}

// stop kills the server and waits until it is gone. Stopping none, or one that
// died, is harmless.
func (d *dnsServer) stop() {
	if d == nil {
		return
	}
	d.cancel(errStopped)
	<-d.done
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if extra := len(t.data) - maxDNSOutput; extra > 0 {
		t.data = append(t.data[:0], t.data[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(t.data, []byte("?"))))
}
