package bridge

import "context"

// Probe tells whether Start could make the network, without making anything, and
// which firewall it would choose: "nftables" or "iptables".
func Probe(ctx context.Context, c Config) (string, error) {
	if err := c.Check(); err != nil {
		return "", err
	}
	if err := c.collision(); err != nil {
		return "", err
	}
	wall, err := chooseFirewall(ctx, c.Host, c.Firewall)
	if err != nil {
		return "", err
	}
	programs, kind := []string{"ip", "dnsmasq"}, "nftables"
	switch wall.(type) {
	case nftables:
		programs = append(programs, "nft")
	case iptables:
		programs, kind = append(programs, "iptables", "iptables-restore"), "iptables"
	}
	for _, program := range programs {
		if _, err := lookPath(program); err != nil {
			return "", err
		}
	}
	return kind, nil
}
