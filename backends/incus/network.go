package incus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/buildd/verdict"
)

// guestNetwork is that of the container.
type guestNetwork struct{ *guest }

// create makes the network anew, where that is the engine's business.
func (n guestNetwork) create(ctx context.Context) error {
	if !n.cfg.ownNetwork() {
		return nil
	}
	if err := n.begin(KindNetwork); err != nil {
		return err
	}
	err := deleteNetwork(ctx, n.server, n.cfg.Bridge)
	if err == nil {
		err = createNetwork(ctx, n.server, n.cfg)
	}
	if api.StatusErrorCheck(err) {
		return &verdict.HostFault{Err: err, Advice: "Look whether another builder that uses this engine has the same instance name or subnet" +
			" ([backend] instance, subnet), and whether the client certificate may make networks."}
	}
	return err
}

// createNetwork makes a bridge with masquerading and a resolver. A cluster
// wants to hear of it once for each member before.
func createNetwork(ctx context.Context, s *server, cfg Config) error {
	post := api.NetworksPost{Name: cfg.Bridge, Type: "bridge"}
	members, err := clusterMembers(ctx, s)
	if err != nil {
		return err
	}
	for _, m := range members {
		err := tell(ctx, s, "prepare the network", func(e engine) error { return e.UseTarget(m.ServerName).CreateNetwork(post) })
		if err != nil {
			return err
		}
	}
	post.Description = "builds of lpbuildd"
	post.Config = map[string]string{"ipv4.address": cfg.HostAddress.String(), "ipv4.nat": "true", "ipv6.address": "none"}
	return tell(ctx, s, "create the network", func(e engine) error { return e.CreateNetwork(post) })
}

// deleteNetwork deletes a network. A missing one is fine.
func deleteNetwork(ctx context.Context, s *server, name string) error {
	err := tell(ctx, s, "delete the network", func(e engine) error { return e.DeleteNetwork(name) })
	if missing(err) {
		return nil
	}
	return err
}

// clusterMembers are the machines of a cluster; none of an engine that is alone.
func clusterMembers(ctx context.Context, s *server) ([]api.ClusterMember, error) {
	const what = "list the machines of the cluster"
	info, err := ask(ctx, s, what, func(e engine) (*api.Server, error) {
		info, _, err := e.GetServer()
		return info, err
	})
	if err != nil || !info.Environment.ServerClustered {
		return nil, err
	}
	return ask(ctx, s, what, func(e engine) ([]api.ClusterMember, error) { return e.GetClusterMembers() })
}

// way is how a container of an engine on another machine reaches this one: by
// which address of ours, and from which addresses its packets come. The engine's
// machine masquerades them with its own.
func (n guestNetwork) way(ctx context.Context) (here netip.Addr, from []netip.Prefix, err error) {
	from = []netip.Prefix{single(n.cfg.Address.Addr())}
	local, remote, err := n.ends(ctx)
	if err != nil {
		return netip.Addr{}, nil, endedOr(ctx, notConnected(n.cfg.Remote, err))
	}
	if local.IsLoopback() {
		// The engine is here after all, and so is the container's network.
		return n.cfg.HostAddress.Addr(), from, nil
	}
	from = append(from, single(remote))
	members, err := clusterMembers(ctx, n.server)
	if err != nil {
		return netip.Addr{}, nil, err
	}
	for _, m := range members {
		addresses, err := addressesOf(ctx, m.URL)
		if err != nil {
			return netip.Addr{}, nil, &verdict.HostFault{
				Err:    fmt.Errorf("cannot find the machine %s of the cluster: %w", m.ServerName, err),
				Advice: "Make the names of all machines of the cluster known to the builder (DNS or /etc/hosts).",
			}
		}
		from = append(from, addresses...)
	}
	slices.SortFunc(from, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return local, slices.Compact(from), nil
}

// ends are the addresses of a connection to the engine: ours and its.
func (n guestNetwork) ends(ctx context.Context) (local, remote netip.Addr, err error) {
	u, err := url.Parse(n.cfg.Remote)
	if err != nil {
		return local, remote, err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return local, remote, err
	}
	here, ok1 := conn.LocalAddr().(*net.TCPAddr)
	there, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if err := conn.Close(); err != nil || !ok1 || !ok2 {
		return local, remote, errors.Join(err, errors.ErrUnsupported)
	}
	return here.AddrPort().Addr().Unmap(), there.AddrPort().Addr().Unmap(), nil
}

// addressesOf are those of the host of a URL.
func addressesOf(ctx context.Context, link string) ([]netip.Prefix, error) {
	u, err := url.Parse(link)
	if err != nil {
		return nil, err
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	var list []netip.Prefix
	for _, a := range found {
		list = append(list, single(a.Unmap()))
	}
	return list, err
}

func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
