package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// firewall makes a bridge's rules. Removing them needs no such choice: both
// kinds are looked for.
type firewall interface {
	open(ctx context.Context, c Config) error
}

// chooseFirewall prefers nftables, whose rules go as a whole, unless the host's
// own rules are those of the old iptables, which it does not see.
func chooseFirewall(ctx context.Context, host backends.Runner, kind string) (firewall, error) {
	haveNft, haveIptables := installed("nft"), installed("iptables-restore") && installed("iptables")
	switch kind {
	case "nftables":
		return nftables{}, nil
	case "iptables":
		return iptables{}, nil
	case "", "auto":
	default:
		return nil, fmt.Errorf("cannot use the firewall %q: it must be auto, iptables or nftables", kind)
	}
	if !haveNft && !haveIptables {
		return nil, &verdict.HostFault{
			Err:    errors.New("cannot start the network of containers: neither nft nor iptables is there"),
			Advice: "Install the package nftables or iptables on the builder.",
		}
	}
	if haveNft && haveIptables {
		version, err := run(ctx, host, "", "iptables", "--version")
		if err != nil {
			return nil, err
		}
		haveNft = strings.Contains(string(version), "nf_tables")
	}
	if haveNft {
		return nftables{}, nil
	}
	return iptables{}, nil
}

// closeFirewalls removes the rules of a bridge of either kind, and looks that
// they are gone.
func closeFirewalls(ctx context.Context, host backends.Runner, name string) error {
	var errs []error
	if installed("iptables-save") {
		errs = append(errs, iptables{}.remove(ctx, host, name))
	}
	if installed("nft") {
		errs = append(errs, nftables{}.remove(ctx, host, name))
	}
	return errors.Join(errs...)
}
