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
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// ledgerKind is the kind of the entries that Record and Done get.
	ledgerKind = "bridge"
	// undoTimeout bounds the clean-up after a failed Start.
	undoTimeout = 20 * time.Second
)

// Bridge is a network that was started.
type Bridge struct {
	config Config
	dns    *dnsServer
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
