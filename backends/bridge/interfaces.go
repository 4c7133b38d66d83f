package bridge

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"lpbuildd/buildd/verdict"
)

// network is a range of addresses that an interface of the host already uses.
type network struct {
	link   string
	prefix netip.Prefix
	// via is the gateway that the range is reached through; unspecified if it is
	// on the link itself.
	via netip.Addr
}

// collision says which network of the host our own would hide.
func (c Config) collision() error {
	networks, err := hostNetworks()
	if err != nil {
		return verdict.MarkHostFault(err)
	}
	for _, n := range networks {
		if n.link == c.Name || !n.collides(c.subnet()) {
			continue
		}
		return &verdict.HostFault{
			Err: fmt.Errorf("cannot use %s for containers: the interface %s already has %s", c.subnet(), n.link, n.prefix),
			Advice: "Set \"subnet\" in the section [backend] of the builder's configuration to a network that is not in use," +
				" for example 172.31.254.0/24.",
		}
	}
	return nil
}

// collides is about what would no longer be reachable. A wider range behind a
// gateway is no collision: it goes on working but for the part that is now ours,
// and networks of companies route all of 10.0.0.0/8.
func (n network) collides(ours netip.Prefix) bool {
	if !n.prefix.Overlaps(ours) {
		return false
	}
	wider := n.prefix.Bits() < ours.Bits()
	routed := n.via.IsValid() && !n.via.IsUnspecified()
	return !wider || !routed || ours.Contains(n.via)
}

func hostNetworks() ([]network, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("cannot list the network interfaces: %w", err)
	}
	var all []network
	for _, link := range links {
		addresses, err := link.Addrs()
		if err != nil {
			return nil, fmt.Errorf("cannot list the addresses of %s: %w", link.Name, err)
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				all = append(all, network{link: link.Name, prefix: p.Masked()})
			}
		}
	}
	f, err := os.Open("/proc/thread-self/net/route")
	if err != nil {
		return nil, fmt.Errorf("cannot read the routes: %w", err)
	}
	defer func() { _ = f.Close() }()
	routes, err := readRoutes(f)
	return append(all, routes...), err
}

// readRoutes reads the kernel's table of IPv4 routes, without those to
// everywhere. Lines that do not look like a route are passed over.
func readRoutes(r io.Reader) ([]network, error) {
	var routes []network
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		// Iface Destination Gateway Flags RefCnt Use Metric Mask ...
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		destination, ok1 := kernelAddr(f[1])
		gateway, ok2 := kernelAddr(f[2])
		mask, err := strconv.ParseUint(f[7], 16, 32)
		if !ok1 || !ok2 || err != nil || mask == 0 {
			continue
		}
		bits := 0
		for ; mask != 0; mask &= mask - 1 {
			bits++
		}
		routes = append(routes, network{link: f[0], prefix: netip.PrefixFrom(destination, bits).Masked(), via: gateway})
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cannot read the routes: %w", err)
	}
	return routes, nil
}

// kernelAddr reads an address as the kernel prints it: the number in the
// machine's byte order, in hex.
func kernelAddr(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], binary.BigEndian.Uint32(raw))
	return netip.AddrFrom4(b), true
}
