// Package bridge is run by root, in a build and after one that died, and touches
// the network of the host: it is the network of container builds (spec: backends.md
// section 7): a bridge on the host with one address, masquerading and the firewall
// rules that let a container out, and a DNS server on that address.
//
// Everything it makes carries the name of the bridge, so that the name alone is
// enough to undo it, and several builders on one machine do not meet. Whoever
// calls it must be root in the network namespace of the host; it is meant to be
// called inside the process namespace of a build, with which the DNS server
// dies whatever happens.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// prefix begins the name of every bridge of ours.
	prefix = "lpbuildd"
	// maxName is how long the kernel lets the name of an interface be.
	maxName = 15
	// ledgerKind is the kind of the entries that Record and Done get.
	ledgerKind = "bridge"
	// undoTimeout bounds the clean-up after a failed Start.
	undoTimeout = 20 * time.Second
)

// Config describes the network of one builder.
type Config struct {
	// Name is the bridge's interface name: see NameFor.
	Name string
	// Subnet is the network; the host gets its first address and the container
	// its second. Invalid means 10.10.10.0/24.
	Subnet netip.Prefix
	// Firewall is "iptables", "nftables", or "auto" (also ""): whichever the
	// host has.
	Firewall string
	// Ports are the TCP ports of the host's address that containers may reach
	// even if the host's firewall refuses what it does not know: the builder
	// proxy's. DNS always is.
	Ports []uint16
	// DNSUser is who the DNS server runs as; "" leaves it to dnsmasq.
	DNSUser string
	// Host runs commands as root on the host.
	Host backends.Runner
	// Record is called before anything is made, and Done when it is all gone;
	// kind is "bridge" and name the Name. Clean undoes such an entry. Nil is
	// no ledger.
	Record, Done func(kind, name string) error
}

// Bridge is a network that was started.
type Bridge struct {
	config Config
	dns    *dnsServer
}

// NameFor names the bridge of an instance of the daemon. The name fits into
// what the kernel allows; that of the instance "default" is the reference's.
func NameFor(instance string) string {
	if instance == "default" {
		return prefix + "br0"
	}
	sum := sha256.Sum256([]byte(instance))
	return prefix + hex.EncodeToString(sum[:])[:maxName-len(prefix)]
}

// SubnetFor is the network of an instance that configures none: 10.10.10.0/24
// for "default", and for others another one below 10.10.0.0/16, always the same
// for the same name. Two names may share one; Start then says so.
func SubnetFor(instance string) netip.Prefix {
	third := byte(10)
	if instance != "default" {
		sum := sha256.Sum256([]byte(instance))
		third = 11 + sum[len(sum)-1]%244
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 10, third, 0}), 24)
}

func (c Config) subnet() netip.Prefix {
	if !c.Subnet.IsValid() {
		return SubnetFor("default")
	}
	return c.Subnet.Masked()
}

// HostAddress is the host's address on the bridge, with the length of the
// network's prefix. DNS is there.
func (c Config) HostAddress() netip.Prefix {
	s := c.subnet()
	return netip.PrefixFrom(s.Addr().Next(), s.Bits())
}

// ContainerAddress is the address that the container must take.
func (c Config) ContainerAddress() netip.Prefix {
	s := c.subnet()
	return netip.PrefixFrom(s.Addr().Next().Next(), s.Bits())
}

// Check tells what is wrong with the configuration, without looking at the host.
func (c Config) Check() error {
	if err := checkName(c.Name); err != nil {
		return err
	}
	if s := c.subnet(); !s.Addr().Is4() || s.Bits() < 8 || s.Bits() > 30 {
		return fmt.Errorf("cannot use %s for containers: not an IPv4 network of /8 to /30", s)
	}
	return nil
}

// checkName keeps names that come from a ledger from touching what is not ours.
func checkName(name string) error {
	ok := len(name) > len(prefix) && len(name) <= maxName && strings.HasPrefix(name, prefix)
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}
	if !ok {
		return fmt.Errorf("cannot use %q as a bridge: the name must be %q and up to %d lower-case letters and digits",
			name, prefix, maxName-len(prefix))
	}
	return nil
}

// Start makes the network. What a crash left of one with the same name is
// removed first, unless something is plugged into it. After an error nothing
// of it is left. The network stays until Stop, even when ctx ends.
func Start(ctx context.Context, c Config) (*Bridge, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := c.collision(); err != nil {
		return nil, err
	}
	wall, err := chooseFirewall(ctx, c.Host, c.Firewall)
	if err != nil {
		return nil, err
	}
	if err := c.removeLeftover(ctx); err != nil {
		return nil, err
	}
	if err := c.ledger(c.Record); err != nil {
		return nil, err
	}
	b := &Bridge{config: c}
	if err := b.start(ctx, wall); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("cannot start the network of containers: %w", err), b.Stop(undo))
	}
	return b, nil
}

func (b *Bridge) start(ctx context.Context, wall firewall) error {
	c := b.config
	_, err := run(ctx, c.Host, strings.Join([]string{
		"link add dev " + c.Name + " type bridge forward_delay 0",
		"address add " + c.HostAddress().String() + " dev " + c.Name,
		"link set dev " + c.Name + " up",
	}, "\n")+"\n", "ip", "-batch", "-")
	if err != nil {
		return err
	}
	if err := enableForwarding(); err != nil {
		return err
	}
	if err := wall.open(ctx, c); err != nil {
		return err
	}
	b.dns, err = startDNS(ctx, c)
	return err
}

// enableForwarding stays in effect, like the reference's: other users of the
// host may have come to rely on it.
func enableForwarding() error {
	const path = "/proc/sys/net/ipv4/ip_forward"
	value, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(value)) != "0" {
		return nil
	}
	if err := os.WriteFile(path, []byte("1"), 0o600); err != nil {
		return &verdict.HostFault{Err: fmt.Errorf("cannot turn on forwarding: %w", err), Advice: "Set net.ipv4.ip_forward to 1 on the builder."}
	}
	return nil
}

// Stop removes the network and looks that nothing of it is left. Missing
// pieces are no error, calling it again is harmless, and what failed can be
// tried again.
func (b *Bridge) Stop(ctx context.Context) error {
	b.dns.stop()
	if err := Clean(ctx, b.config.Host, b.config.Name); err != nil {
		return err
	}
	return b.config.ledger(b.config.Done)
}

func (c Config) ledger(f func(kind, name string) error) error {
	if f == nil {
		return nil
	}
	return f(ledgerKind, c.Name)
}

// Clean removes what is left of a network after its processes are gone: the
// interface and the rules of the firewall. It is for ledger entries, and does
// nothing if there is nothing.
func Clean(ctx context.Context, host backends.Runner, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	errs := []error{closeFirewalls(ctx, host, name)}
	if exists(name) {
		_, err := run(ctx, host, "", "ip", "link", "delete", "dev", name)
		if exists(name) {
			errs = append(errs, err, fmt.Errorf("cannot remove the bridge %s: it is still there", name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove the network of containers: %w", err)
	}
	return nil
}

func (c Config) removeLeftover(ctx context.Context) error {
	if exists(c.Name) {
		ports, err := run(ctx, c.Host, "", "ip", "-oneline", "link", "show", "master", c.Name)
		if err != nil {
			return err
		}
		if len(ports) > 0 {
			return &verdict.HostFault{
				Err: fmt.Errorf("cannot start the network of containers: the bridge %s is in use by %s", c.Name, firstLink(ports)),
				Advice: "Another builder on this machine seems to have the same instance name, or a container of an earlier build" +
					" was not removed.",
			}
		}
	}
	return Clean(ctx, c.Host, c.Name)
}

// firstLink finds the first interface's name in "5: veth0@if4: <...> ...".
func firstLink(list []byte) string {
	words := strings.Fields(string(list))
	if len(words) < 2 {
		return "another interface"
	}
	name, _, _ := strings.Cut(strings.TrimSuffix(words[1], ":"), "@")
	return name
}
