package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"lpbuildd/backends"
)

const (
	// prefix begins the name of every bridge of ours.
	prefix = "lpbuildd"
	// maxName is how long the kernel lets the name of an interface be.
	maxName = 15
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

// comment marks every rule, for whoever looks at the host's firewall.
func comment(name string) string { return "managed by lpbuildd (" + name + ")" }
