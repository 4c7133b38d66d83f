package build

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/proxy"
	"lpbuildd/builders"
)

// network is what a build reaches its archives and sources through: its proxy, the
// token for that, and the proxy for private archives.
type network struct {
	settings job.Settings
	voice    *voice
	books    *books
	progress *progress
	target   target // nil until there is one

	args   builders.ProxyArgs
	token  proxy.Token
	parked string // where the token is kept for a clean-up, "" if it is not
	// credentials are what hideArchives took out of the archives, archives the
	// proxy that adds them again.
	credentials []proxy.Credential
	archives    archivesProxy
	// send tells the service that the token is revoked.
	send func(context.Context) error

	mu   sync.Mutex // guards owed
	owed bool       // the token is still to be revoked
}

// archivesProxy is a *proxy.Archives.
type archivesProxy interface {
	AptConf() string
	Close(ctx context.Context) error
}

// Limits of parts of the end.
const (
	closeLimit  = 5 * time.Second
	revokeLimit = 30 * time.Second
)

// owe notes that the token of the build's proxy has to be revoked, before
// anything that can fail. What is wrong with the arguments is told later.
func (n *network) owe(typ builders.Type, args builders.Args) {
	if !typ.Proxy {
		return
	}
	a, _ := builders.ParseProxy(args)
	n.token = proxy.Token{UpstreamURL: a.UpstreamURL, Endpoint: a.RevocationEndpoint, FetchService: a.UseFetchService}
	n.send = func(ctx context.Context) error { return n.token.Revoke(ctx, nil) }
	n.owed = a.RevocationEndpoint != ""
}

// recordToken writes down that the token has to be revoked, so that it is even
// if this process dies (spec: proxy.md section 8).
func (n *network) recordToken() error {
	if !n.owed {
		return nil
	}
	n.parked = proxy.ParkingID(n.voice.buildID)
	if err := n.books.record(string(ledger.Token), n.parked); err != nil {
		return err
	}
	if err := n.token.Park(n.parked); err != nil {
		n.voice.daemon.Warn("Revocation will not survive a crash", "error", err)
	}
	return nil
}

// revoke revokes the token, once, and also when the build was aborted. What goes
// wrong is worth a line in the log, not a build.
func (n *network) revoke(ctx context.Context) {
	n.mu.Lock()
	owed := n.owed
	n.owed = false
	n.mu.Unlock()
	if !owed {
		return
	}
	n.voice.say("Revoking proxy token...")
	ctx = context.WithoutCancel(ctx)
	err := n.progress.during(ctx, PartRevoke, revokeLimit, n.send)
	if err != nil {
		n.voice.say("Unable to revoke token for %s: %v", n.token.User(), err)
	}
	if n.parked == "" || hangs(err) {
		return // the build ended before, or a clean-up tries again
	}
	if err := proxy.Forget(n.parked); err != nil {
		n.voice.daemon.Warn("Cannot forget a revoked token", "error", err)
	}
	if err := n.books.done(string(ledger.Token), n.parked); err != nil {
		n.voice.daemon.Error("Cannot write to the ledger", "error", err)
	}
}

// withProxy runs f while the local proxy of the build runs, if it has one.
func (n *network) withProxy(ctx context.Context, env builders.Env, f func(builders.Env) error) error {
	c, inContainer := n.target.(*container)
	if n.args.UpstreamURL == "" || !inContainer {
		return f(env)
	}
	upstream, err := proxy.ParseURL(n.args.UpstreamURL)
	if err != nil {
		return fmt.Errorf("proxy_url: %w", err)
	}
	address, allow, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	port := proxyPort(n.settings)
	p, err := proxy.Start(ctx, proxy.Config{
		Upstream: upstream, Listen: netip.AddrPortFrom(address, port), Allow: allow, Log: n.voice.log,
	})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		if err := p.Close(last); err != nil {
			n.voice.daemon.Warn("Cannot close the proxy of the build", "error", err)
		}
	}()
	env.Proxy = &builders.Proxy{URL: "http://" + p.Addr().String() + "/", Host: address.String(), Port: strconv.Itoa(int(port))}
	return f(env)
}
