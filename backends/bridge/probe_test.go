package bridge_test

import (
	"net/netip"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
)

func TestProbe(t *testing.T) {
	sound := bridge.Config{Name: bridge.NameFor("probe"), Subnet: netip.MustParsePrefix("198.51.100.0/24"), Host: backends.Host{}}
	for want, change := range map[string]func(*bridge.Config){
		"as a bridge":                func(c *bridge.Config) { c.Name = "eth0" },
		"already has 127.0.0.0/8":    func(c *bridge.Config) { c.Subnet = netip.MustParsePrefix("127.0.0.0/30") },
		`cannot use the firewall "x`: func(c *bridge.Config) { c.Firewall = "x" },
	} {
		c := sound
		change(&c)
		if kind, err := bridge.Probe(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %v, want %s", kind, err, want)
		}
	}
	kind, err := bridge.Probe(t.Context(), sound)
	if err != nil {
		t.Skipf("needs what a network is made with: %v", err)
	}
	if kind != "nftables" && kind != "iptables" {
		t.Errorf("got %q", kind)
	}
}
