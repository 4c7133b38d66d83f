package bridge

import (
	"bytes"
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

// comment marks every rule, for whoever looks at the host's firewall.
func comment(name string) string { return "managed by lpbuildd (" + name + ")" }

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

func installed(program string) bool {
	_, err := lookPath(program)
	return err == nil
}

func lookPath(program string) (string, error) { return backends.Host{}.LookPath(program) }

// run runs a command of the host with some input; its error has what the
// command said.
func run(ctx context.Context, host backends.Runner, stdin string, argv ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := backends.Command{Argv: argv, Stdout: &stdout, Stderr: &stderr}
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	if err := host.Run(ctx, cmd); err != nil {
		if said := strings.TrimSpace(stderr.String()); said != "" {
			return nil, fmt.Errorf("%w: %s", err, said)
		}
		return nil, err
	}
	return stdout.Bytes(), nil
}
