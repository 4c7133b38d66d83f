package incus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"

	"lpbuildd/buildd/verdict"
)

const (
	// connectTime is how long an engine may take to say who it is.
	connectTime = 20 * time.Second
	dialTime    = 5 * time.Second
	// headerTime is how long the answer may take after an upload.
	headerTime = 10 * time.Minute
	// snapSocket is where LXD listens when it is a snap.
	snapSocket = "/var/snap/lxd/common/lxd/unix.socket"
)

// sockets are the places where engines listen, in the order in which they are
// tried.
func sockets(engine string) []string {
	incus := []string{"/var/lib/incus/unix.socket", "/run/incus/unix.socket"}
	lxd := []string{snapSocket, "/var/lib/lxd/unix.socket"}
	switch engine {
	case Incus:
		return incus
	case LXD:
		return lxd
	}
	return append(incus, lxd...)
}

// candidates are the sockets that a configuration means.
func candidates(cfg Config) []string {
	if cfg.Socket != "" {
		return []string{cfg.Socket}
	}
	return sockets(cfg.Engine)
}

// connect connects to the engine that the configuration means.
func connect(ctx context.Context, cfg Config) (*server, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, connectTime, errDeadline)
	defer cancel()
	if cfg.Remote != "" {
		return connectRemote(ctx, cfg)
	}
	socket, err := findSocket(ctx, cfg)
	if err != nil {
		return nil, err
	}
	conn, err := client.ConnectIncusUnixWithContext(ctx, socket, &client.ConnectionArgs{
		UserAgent: "lpbuildd", SkipGetEvents: true, SkipGetServer: true,
	})
	if err != nil {
		return nil, notConnected(socket, err)
	}
	h, err := conn.GetHTTPClient()
	if err != nil {
		return nil, notConnected(socket, err)
	}
	base, ok := h.Transport.(*http.Transport)
	if !ok {
		return nil, notConnected(socket, errors.New("the client library has an unknown transport"))
	}
	t := newTransport(base)
	h.Transport = t
	return introduce(ctx, cfg, socket, conn, t)
}

// connectRemote connects by HTTPS, as who the client certificate says.
func connectRemote(ctx context.Context, cfg Config) (*server, error) {
	var pem [3]string
	for i, name := range []string{cfg.ClientCert, cfg.ClientKey, cfg.ServerCert} {
		if name == "" {
			continue
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, notConnected(cfg.Remote, err)
		}
		pem[i] = string(data)
	}
	var t *transport
	conn, err := client.ConnectIncusWithContext(ctx, cfg.Remote, &client.ConnectionArgs{
		UserAgent: "lpbuildd", SkipGetEvents: true, SkipGetServer: true,
		TLSClientCert: pem[0], TLSClientKey: pem[1], TLSServerCert: pem[2],
		TransportWrapper: func(base *http.Transport) client.HTTPTransporter {
			t = newTransport(base)
			return t
		},
	})
	if err != nil {
		return nil, notConnected(cfg.Remote, err)
	}
	return introduce(ctx, cfg, cfg.Remote, conn, t)
}

// introduce asks the server who it is.
func introduce(ctx context.Context, cfg Config, address string, conn client.InstanceServer, t *transport) (*server, error) {
	// The client keeps what the server can do, so it has to ask itself. Its
	// WithContext changes it; UseProject makes a copy.
	base, ok := conn.(*client.ProtocolIncus)
	if !ok {
		return nil, notConnected(address, errors.New("the client library has an unknown type of connection"))
	}
	info, _, err := base.WithContext(ctx).GetServer()
	if err != nil {
		return nil, notConnected(address, err)
	}
	kind := cmp.Or(info.Environment.Server, LXD)
	if want := cmp.Or(cfg.Engine, Auto); want != Auto && want != kind {
		return nil, notConnected(address, fmt.Errorf("the configuration says %s, but it is %s", want, kind))
	}
	if info.Auth != "trusted" {
		return nil, notConnected(address, errors.New("it does not trust this builder"))
	}
	t.lxd = kind == LXD
	s := &server{
		engine: "Incus", major: lxcMajor(info.Environment.Driver, info.Environment.DriverVersion),
		call: cmp.Or(cfg.AnswerTime, callTime), poll: pollTime,
	}
	if t.lxd {
		s.engine = "LXD"
	}
	project := cfg.Project
	s.with = func(ctx context.Context) engine {
		copied, ok := base.UseProject(project).(*client.ProtocolIncus)
		if !ok {
			return base
		}
		return copied.WithContext(ctx)
	}
	return s, nil
}

// findSocket returns the first socket on which somebody listens.
func findSocket(ctx context.Context, cfg Config) (string, error) {
	dialer := net.Dialer{Timeout: dialTime}
	var errs []error
	for _, path := range candidates(cfg) {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return path, conn.Close()
		}
		errs = append(errs, err)
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return "", notConnected("", errors.Join(errs...))
}

func notConnected(address string, err error) error {
	text := "cannot connect to the container engine"
	if address != "" {
		text += " at " + address
	}
	// Several reasons come on several lines; ours is one.
	reason := strings.ReplaceAll(err.Error(), "\n", "; ")
	return &verdict.HostFault{
		Err:    fmt.Errorf("%s: %s", text, reason),
		Advice: "Install LXD or Incus on the builder and start it, or correct its address in the builder's configuration.",
	}
}

// lxcMajor finds the first number of the version of LXC among those of several
// drivers ("lxc | qemu", "5.0.0 | 8.0.4"). What cannot be read is new.
func lxcMajor(drivers, versions string) int {
	names, numbers := strings.Split(drivers, "|"), strings.Split(versions, "|")
	for i, number := range numbers {
		if i < len(names) && len(numbers) > 1 && strings.TrimSpace(names[i]) != "lxc" {
			continue
		}
		major, _, _ := strings.Cut(strings.TrimSpace(number), ".")
		if n, err := strconv.Atoi(major); err == nil {
			return n
		}
	}
	return newestLXC
}

// newestLXC stands for a version that cannot be read.
const newestLXC = 99

// transport corrects requests of the client library: it renames the headers
// that LXD knows by another name, and ties uploads to a context, as the library
// sends those without.
type transport struct {
	base *http.Transport
	// lxd is set before the transport is shared.
	lxd bool
}

func newTransport(base *http.Transport) *transport {
	base.ResponseHeaderTimeout = headerTime
	base.WriteBufferSize = 256 << 10
	return &transport{base: base}
}

// Transport is the transport without corrections, which the library needs for
// websockets.
func (t *transport) Transport() *http.Transport { return t.base }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	up, isUpload := req.Body.(*upload)
	if isUpload {
		req = up.bind(req)
	}
	if t.lxd {
		if !isUpload {
			req = req.Clone(req.Context())
		}
		renameHeaders(req.Header)
	}
	return t.base.RoundTrip(req)
}

// renameHeaders gives headers of Incus the names that they have in LXD.
func renameHeaders(h http.Header) {
	const incus, lxd = "X-Incus-", "X-Lxd-"
	for name, values := range h {
		if rest, ok := strings.CutPrefix(name, incus); ok {
			delete(h, name)
			h[lxd+rest] = values
		}
	}
}
