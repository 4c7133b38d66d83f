package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// upstream is a parent proxy.
type upstream struct {
	address       string // host:port
	tls           bool
	user          *url.Userinfo
	authorization string // "" without credentials
}

func newUpstream(u *url.URL) (upstream, error) {
	if u == nil || u.Hostname() == "" {
		return upstream{}, errors.New("there is no upstream proxy")
	}
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port == "" {
		return upstream{}, fmt.Errorf("the upstream proxy has the scheme %q, not http or https", u.Scheme)
	}
	up := upstream{
		address: net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)),
		tls:     u.Scheme == "https", user: u.User,
	}
	if name := u.User.Username(); name != "" {
		password, _ := u.User.Password()
		up.authorization = basic(name, password)
	}
	return up, nil
}

// authorize sets the credentials in place of those of the client, if there are
// any. A client's own are for a hop that it does not know of.
func (u upstream) authorize(h http.Header) {
	h.Del("Proxy-Authorization")
	if u.authorization != "" {
		h.Set("Proxy-Authorization", u.authorization)
	}
}

func (u upstream) secrets() []string {
	password, _ := u.user.Password()
	return secretForms(u.user.Username(), password)
}

var errUnreachable = errors.New("the upstream proxy cannot be reached")

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialUpstream connects to u, whatever the address.
func dialUpstream(u upstream, timeout time.Duration, config *tls.Config) dialFunc {
	dialer := &net.Dialer{Timeout: timeout}
	dial := dialer.DialContext
	if u.tls {
		dial = (&tls.Dialer{NetDialer: dialer, Config: config}).DialContext
	}
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx, "tcp", u.address)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreachable, err)
		}
		return conn, nil
	}
}
