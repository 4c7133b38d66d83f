package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// ArchivesConfig says what an Archives does.
type ArchivesConfig struct {
	// Credentials are those of Split; the ones that are not Injectable are left
	// out.
	Credentials []Credential
	// Sources are the clean lines of Split. Of the hosts that have credentials,
	// they tell which other ports may be asked.
	Sources []string
	// Upstream is the site's own proxy for apt, or nil.
	Upstream *url.URL
	// Listen, Allow, Log and Timeouts are as in Config. The log gets a line per
	// kind of trouble and not per request, as apt has its own.
	Listen   netip.AddrPort
	Allow    []netip.Prefix
	Log      io.Writer
	Timeouts Timeouts
}

// Archives is a running proxy for apt in a target. It adds credentials to
// requests for private archives, so that nothing in the target has them, and
// passes everything else on as it is. It serves only hosts with
// credentials: the build must not reach by it what only the builder can.
//
// What runs in the target can read the archives through it, as apt does, and
// not change them; and it learns nothing with which it could read them later or
// elsewhere.
type Archives struct {
	server   *local
	hosts    []string // that apt is to ask through this
	upstream *url.URL
}

// StartArchives makes a proxy that runs until Close, or until ctx ends.
func StartArchives(ctx context.Context, c ArchivesConfig) (*Archives, error) {
	a, err := startArchives(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("cannot start the proxy for archives: %w", err)
	}
	return a, nil
}

func startArchives(ctx context.Context, c ArchivesConfig) (*Archives, error) {
	t := c.Timeouts.withDefaults()
	in := newInjector(c)
	dial := (&net.Dialer{Timeout: t.Dial}).DialContext
	if c.Upstream != nil {
		u, err := newUpstream(c.Upstream)
		if err != nil {
			return nil, err
		}
		in.upstream, dial = &u, dialUpstream(u, t.Dial, nil)
	}
	in.proxy = newReverseProxy(in.rewrite, in.inspect, in.failed, dial)
	s, err := listen(ctx, options{
		listen: c.Listen, allow: c.Allow, header: t.Header, log: in.log, handle: in.handle,
	})
	if err != nil {
		return nil, err
	}
	return &Archives{server: s, hosts: in.names(), upstream: c.Upstream}, nil
}

// Addr is where the proxy listens, with the real port.
func (a *Archives) Addr() netip.AddrPort { return a.server.addr }

// Close ends every request and waits for them as long as ctx allows. More calls
// are allowed.
func (a *Archives) Close(ctx context.Context) error { return a.server.close(ctx) }

// AptConf is the content of a file for /etc/apt/apt.conf.d in the target. It has
// no secrets but those of Upstream, which apt is told anyway. It sends apt's requests for the private hosts, and only these, to
// this proxy; https goes on as if it were not there.
func (a *Archives) AptConf() string {
	direct := "DIRECT"
	if a.upstream != nil {
		direct = a.upstream.String()
	}
	var b strings.Builder
	for _, host := range a.hosts {
		fmt.Fprintf(&b, "Acquire::http::Proxy::%s \"http://%s/\";\n", host, a.Addr())
		fmt.Fprintf(&b, "Acquire::https::Proxy::%s \"%s\";\n", host, direct)
	}
	return b.String()
}

// injector knows which request gets which credential.
type injector struct {
	// creds are by host and port; of each, the longest path comes first.
	creds    map[string][]Credential
	others   map[string]bool // further ports of these hosts that are served
	upstream *upstream
	log      *accessLog
	proxy    *httputil.ReverseProxy
}

func newInjector(c ArchivesConfig) *injector {
	in := &injector{creds: map[string][]Credential{}, others: map[string]bool{}}
	var secrets []string
	private := map[string]bool{}
	for _, cred := range c.Credentials {
		if cred.Injectable() {
			key := endpoint(cred.URL)
			in.creds[key] = append(in.creds[key], cred)
			private[strings.ToLower(cred.URL.Hostname())] = true
		}
		secrets = append(secrets, secretForms(cred.Username, cmp.Or(cred.Password, cred.Username))...)
	}
	for _, list := range in.creds {
		slices.SortStableFunc(list, func(a, b Credential) int { return len(b.URL.Path) - len(a.URL.Path) })
	}
	for _, line := range c.Sources {
		for word := range strings.FieldsSeq(line) {
			if u, err := url.Parse(word); err == nil && u.Scheme == "http" && private[strings.ToLower(u.Hostname())] {
				in.others[endpoint(u)] = true
			}
		}
	}
	in.log = newAccessLog("Archive proxy", c.Log, secrets)
	return in
}

// endpoint is the host and port of an http URL.
func endpoint(u *url.URL) string {
	return net.JoinHostPort(strings.ToLower(u.Hostname()), cmp.Or(u.Port(), "80"))
}

// names are the hosts that have credentials, without ports.
func (in *injector) names() []string {
	names := map[string]bool{}
	for _, list := range in.creds {
		names[list[0].URL.Hostname()] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (in *injector) handle(x *exchange, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect || (r.URL.IsAbs() && r.URL.Scheme != "http"):
		http.Error(x, "This proxy is for http only.", http.StatusForbidden)
	case !r.URL.IsAbs():
		notAServer(x)
	case in.creds[endpoint(r.URL)] == nil && !in.others[endpoint(r.URL)]:
		in.log.once("refused a request for %s, which is not one of the build's private archives", field(r.URL.Host))
		http.Error(x, "This proxy is for the build's private archives only.", http.StatusForbidden)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		x.Header().Set("Allow", "GET, HEAD")
		http.Error(x, "This proxy is for reading archives only.", http.StatusMethodNotAllowed)
	default:
		forward(in.proxy, x, r)
	}
}

// credential is the one for u, or nil. Dots in the path are resolved before, so
// that they do not lead out of a prefix.
func (in *injector) credential(u *url.URL) *Credential {
	asked := path.Clean("/" + u.Path)
	for _, c := range in.creds[endpoint(u)] {
		prefix := path.Clean("/" + c.URL.Path)
		if asked == prefix || strings.HasPrefix(asked, strings.TrimSuffix(prefix, "/")+"/") {
			return &c
		}
	}
	return nil
}

func (in *injector) rewrite(r *httputil.ProxyRequest) {
	keepForwarded(r)
	r.Out.URL = new(url.URL)
	*r.Out.URL = *r.In.URL
	r.Out.URL.User = nil
	if in.upstream != nil {
		r.Out.URL = &url.URL{Scheme: "http", Host: in.upstream.address, Opaque: withoutUserinfo(r.In.RequestURI)}
		in.upstream.authorize(r.Out.Header)
	}
	if c := in.credential(r.In.URL); c != nil {
		r.Out.Header.Set("Authorization", basic(c.Username, c.Password))
	}
}

// inspect notes that an archive does not take its credential.
func (in *injector) inspect(resp *http.Response) error {
	refused := resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden
	if refused && resp.Request.Header.Get("Authorization") != "" {
		in.log.once("the archive at %s refused the credentials of this build (%d)", resp.Request.Host, resp.StatusCode)
	}
	return nil
}

func (in *injector) failed(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the proxy is being closed
	}
	if errors.Is(err, errUnreachable) {
		err = fmt.Errorf("%w (the proxy for apt)", err)
	}
	in.log.once("cannot ask %s: %v", field(r.URL.Host), err)
	http.Error(w, "The archive cannot be reached.", http.StatusBadGateway)
}
