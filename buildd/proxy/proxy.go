// Package proxy is run by root, inside the namespaces of one build: it gives that
// build the network, and takes it away again.
//
// A build reaches the network through an upstream proxy that wants credentials,
// which many tools cannot give and which no build should see. Proxy is the
// unauthenticated proxy next to the build that adds them (spec: proxy.md section
// 2); Token is the duty to revoke them afterwards (section 8). Archives does the
// same for apt and private archives.
//
// Credentials are in no message, log line or error of this package. All types
// are safe for concurrent use.
package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"time"
)

// Config says what a Proxy does.
type Config struct {
	// Upstream is http://user:password@host:port, or https. Without a port it is
	// that of the scheme; without a user no credentials are added.
	Upstream *url.URL
	// Listen is an address of this machine that the build can reach; port 0 is
	// any free one.
	Listen netip.AddrPort
	// Allow are the build's own addresses; everybody else gets 403.
	Allow []netip.Prefix
	// Log is the build log. It gets a line per finished request, in one Write.
	Log io.Writer
	// Timeouts may be zero.
	Timeouts Timeouts
	// TLS is for an https upstream and may be nil.
	TLS *tls.Config
}

// Timeouts bound what has no end by itself; 0 is the default. There is none for
// a response, nor for an idle tunnel: what has died is found by TCP.
type Timeouts struct {
	// Dial is for the connection to the upstream; 30 s.
	Dial time.Duration
	// Header is for the head of a client's request; 60 s.
	Header time.Duration
	// Connect is for the upstream's answer to CONNECT; 5 minutes.
	Connect time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	t.Dial = cmp.Or(t.Dial, 30*time.Second)
	t.Header = cmp.Or(t.Header, time.Minute)
	t.Connect = cmp.Or(t.Connect, 5*time.Minute)
	return t
}

// Proxy is a running builder proxy.
type Proxy struct{ server *local }

// Start makes a proxy that runs until Close, or until ctx ends. Its errors name
// the address and what is wrong with it.
func Start(ctx context.Context, c Config) (*Proxy, error) {
	u, err := newUpstream(c.Upstream)
	if err != nil {
		return nil, fmt.Errorf("cannot start the builder proxy: %w", err)
	}
	t := c.Timeouts.withDefaults()
	log := newAccessLog("Builder proxy", c.Log, u.secrets())
	f := &forwarder{
		upstream: u,
		log:      log,
		connect:  t.Connect,
		dial:     dialUpstream(u, t.Dial, c.TLS),
	}
	f.plain = newReverseProxy(f.rewrite, f.inspect, f.failed, f.dial)
	s, err := listen(ctx, options{
		listen: c.Listen, allow: c.Allow, header: t.Header,
		log: log, each: true, handle: f.handle,
	})
	if err != nil {
		return nil, fmt.Errorf("cannot start the builder proxy: %w", err)
	}
	return &Proxy{server: s}, nil
}

// Addr is where the proxy listens, with the real port.
func (p *Proxy) Addr() netip.AddrPort { return p.server.addr }

// Close ends every request and tunnel, and waits for them as long as ctx allows.
// More calls are allowed.
func (p *Proxy) Close(ctx context.Context) error { return p.server.close(ctx) }

// ParseURL is url.Parse for URLs with credentials, which are not in its error.
func ParseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("cannot parse the proxy URL (it is not shown, as it may hold a password)")
	}
	return u, nil
}
