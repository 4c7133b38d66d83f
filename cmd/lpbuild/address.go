package main

import (
	"context"
	"errors"
	"net"
	"net/url"
)

// builderIsHere tells whether a builder's URL is that of this machine.
func builderIsHere(builder string) bool {
	u, err := url.Parse(builder)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// addressForBuilder is an address of this machine for the builder itself: the
// one that packets to it come from, "" if there is none.
func addressForBuilder(ctx context.Context, builder string) string {
	if builderIsHere(builder) {
		return "127.0.0.1"
	}
	u, err := url.Parse(builder)
	if err != nil {
		return ""
	}
	ip := sourceAddress(ctx, u.Hostname())
	if ip == nil {
		return ""
	}
	return ip.String()
}

// addressForBuilds is an address of this machine for what runs within the
// builder's containers, which have a loopback interface of their own.
func addressForBuilds(ctx context.Context, builder string) (string, error) {
	if ip := net.ParseIP(addressForBuilder(ctx, builder)); isReachable(ip) {
		return ip.String(), nil
	}
	// Any address far away tells the interface of the default route.
	for _, far := range []string{"198.51.100.1", "2001:db8::1"} {
		if ip := sourceAddress(ctx, far); isReachable(ip) {
			return ip.String(), nil
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && isReachable(network.IP) {
			return network.IP.String(), nil
		}
	}
	return "", errors.New("this machine has no address that builds can reach; name one with --serve-address")
}

// isReachable tells whether others can use an address.
func isReachable(ip net.IP) bool { return ip != nil && ip.IsGlobalUnicast() }

// sourceAddress is the address of this machine from which it would send to a
// host, nil if it is not known. Nothing is sent.
func sourceAddress(ctx context.Context, host string) net.IP {
	const discard = "9"
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(host, discard))
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil
	}
	return local.IP
}
