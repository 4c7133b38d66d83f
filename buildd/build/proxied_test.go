package build

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"testing"

	"lpbuildd/backends/bridge"
	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/builders"
)

// TestOnlyTheBuildMayUseItsProxies: the one that adds the token of its network, and
// the one that adds credentials of its archives.
func TestOnlyTheBuildMayUseItsProxies(t *testing.T) {
	subnet := netip.MustParsePrefix("127.9.8.0/24") // where this machine is everybody
	log, err := buildlog.Create(buildlog.Options{Path: t.TempDir() + "/buildlog", UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	n := &network{
		target: &container{network: bridge.Config{Subnet: subnet}},
		voice:  newVoice(job.Request{}, slog.New(slog.DiscardHandler)),
		args:   builders.ProxyArgs{UpstreamURL: "http://user:s3cr3t@127.0.0.1:1"}, // where nobody listens
	}
	n.voice.log = &lineLog{Log: log}
	err = n.withProxy(t.Context(), builders.Env{}, func(env builders.Env) error {
		for from, want := range map[string]int{
			"127.9.8.2": http.StatusNotImplemented, "127.9.8.1": http.StatusForbidden, "127.9.8.3": http.StatusForbidden, "127.0.0.1": http.StatusForbidden,
		} {
			if got := statusFrom(t, from, env.Proxy.URL); got != want {
				t.Errorf("the proxy answers %s with %d, want %d", from, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		target        target
		listen, allow string
	}{
		"a container": {n.target, "127.9.8.1:1", "127.9.8.2/32"},
		"a chroot":    {nil, "127.0.0.1:0", "127.0.0.1/32"},
	} {
		n.target = test.target
		listen, allow, err := n.archivesAddress(t.Context())
		if err != nil || listen.String() != test.listen || !slices.Equal(allow, []netip.Prefix{netip.MustParsePrefix(test.allow)}) {
			t.Errorf("the archives of %s: it listens on %s for %s, %v", name, listen, allow, err)
		}
	}
}

// statusFrom is the answer to a request of somebody at an address.
func statusFrom(t *testing.T, from, through string) int {
	t.Helper()
	u, err := url.Parse(through)
	if err != nil {
		t.Fatal(err)
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{Proxy: http.ProxyURL(u), DialContext: dialer.DialContext}
	defer transport.CloseIdleConnections()
	q, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, "http://example.test/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		t.Error(err, closeErr)
	}
	return resp.StatusCode
}
