package build

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/proxy"
	"lpbuildd/builders"
)

// closeLimit is how long the local proxy may take to end.
const closeLimit = 5 * time.Second

// owe notes that the token of the build's proxy has to be revoked, before
// anything that can fail. What is wrong with the arguments is told later.
func (b *build) owe() {
	typ, err := b.find(b.request.Tag)
	if err != nil || !typ.Proxy {
		return
	}
	args, _ := builders.ParseProxy(builders.Args(b.request.Args))
	b.token = proxy.Token{UpstreamURL: args.UpstreamURL, Endpoint: args.RevocationEndpoint, FetchService: args.UseFetchService}
	b.owed = args.RevocationEndpoint != ""
}

// recordToken writes down that the token has to be revoked, so that it is even
// if this process dies (spec: proxy.md section 8).
func (b *build) recordToken() error {
	if !b.owed {
		return nil
	}
	b.parked = proxy.ParkingID(b.request.BuildID)
	if err := b.ledger.Add(ledger.Entry{Kind: ledger.Token, Name: b.parked}); err != nil {
		return err
	}
	if err := b.token.Park(b.parked); err != nil {
		b.daemon.Warn("Revocation will not survive a crash", "error", err)
	}
	return nil
}

// revoke revokes the token, once, and also when the build was aborted. What goes
// wrong is worth a line in the log, not a build.
func (b *build) revoke(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	b.mu.Lock()
	owed := b.owed
	b.owed = false
	b.mu.Unlock()
	if !owed {
		return
	}
	b.say("Revoking proxy token...")
	if err := b.token.Revoke(ctx, nil); err != nil {
		b.say("Unable to revoke token for %s: %v", b.token.User(), err)
	}
	if b.parked == "" {
		return // the build ended before
	}
	if err := proxy.Forget(b.parked); err != nil {
		b.daemon.Warn("Cannot forget a revoked token", "error", err)
	}
	if err := b.ledger.Done(ledger.Entry{Kind: ledger.Token, Name: b.parked}); err != nil {
		b.daemon.Error("Cannot write to the ledger", "error", err)
	}
}

// withProxy runs f while the local proxy of the build runs, if it has one.
func (b *build) withProxy(ctx context.Context, f func(builders.Env) error) error {
	env := b.env
	c, inContainer := b.target.(*container)
	if b.network.UpstreamURL == "" || !inContainer {
		return f(env)
	}
	upstream, err := proxy.ParseURL(b.network.UpstreamURL)
	if err != nil {
		return fmt.Errorf("proxy_url: %w", err)
	}
	address, allow, err := c.addresses(ctx)
	if err != nil {
		return err
	}
	port := proxyPort(b.request.Settings)
	p, err := proxy.Start(ctx, proxy.Config{
		Upstream: upstream, Listen: netip.AddrPortFrom(address, port), Allow: allow, Log: b.log,
	})
	if err != nil {
		return err
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
		defer cancel()
		if err := p.Close(last); err != nil {
			b.daemon.Warn("Cannot close the proxy of the build", "error", err)
		}
	}()
	env.Proxy = &builders.Proxy{URL: "http://" + p.Addr().String() + "/", Host: address.String(), Port: strconv.Itoa(int(port))}
	return f(env)
}
