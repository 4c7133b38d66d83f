package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lpbuildd/backends"
)

// nftables keeps the rules in a table of the bridge's own. A packet has to pass
// the chains of all tables, so those that others have for forwarded and incoming
// packets get rules of ours in front, too, found again by their comment.
type nftables struct{}

func (nftables) open(ctx context.Context, c Config) error {
	objects, err := nftObjects(ctx, c.Host)
	if err != nil {
		return err
	}
	_, err = run(ctx, c.Host, nftTable(c)+nftAccept(c, objects), "nft", "-f", "-")
	return err
}

func nftTable(c Config) string {
	name, subnet, mark := c.Name, c.subnet().String(), ` comment "`+comment(c.Name)+`"`
	return strings.Join([]string{
		"table ip " + name + " {",
		"chain mangle {",
		"type filter hook forward priority -150; policy accept;",
		`iifname "` + name + `" tcp flags & (syn|rst) == syn tcp option maxseg size set rt mtu` + mark,
		"}",
		"chain nat {",
		"type nat hook postrouting priority 100; policy accept;",
		"ip saddr " + subnet + " ip daddr != " + subnet + " masquerade" + mark,
		"}",
		"}",
		"",
	}, "\n")
}

// nftAccept gives the rules for other tables' chains.
func nftAccept(c Config, objects []nftObject) string {
	ports := []string{"53"}
	for _, port := range c.Ports {
		ports = append(ports, strconv.Itoa(int(port)))
	}
	in := `iifname "` + c.Name + `" `
	rules := map[string][]string{
		"forward": {in + "accept", `oifname "` + c.Name + `" accept`},
		"input":   {in + "udp dport 53 accept", in + "tcp dport { " + strings.Join(ports, ", ") + " } accept"},
	}
	var out strings.Builder
	for _, o := range objects {
		chain := o.Chain
		if chain == nil || chain.Type != "filter" || !mayRefuse(chain.Family, chain.Table) {
			continue
		}
		for _, rule := range rules[chain.Hook] {
			fmt.Fprintf(&out, "insert rule %s %s %s %s comment %q\n", chain.Family, chain.Table, chain.Name, rule, comment(c.Name))
		}
	}
	return out.String()
}

// mayRefuse leaves out our own tables, and those of iptables that only change
// packets.
func mayRefuse(family, table string) bool {
	return !strings.HasPrefix(table, prefix) &&
		(family == "inet" || family == "ip" && table != "mangle" && table != "raw")
}

func (nftables) remove(ctx context.Context, host backends.Runner, name string) error {
	left, err := nftLeft(ctx, host, name)
	if err != nil || left == "" {
		return err
	}
	_, removeErr := run(ctx, host, left, "nft", "-f", "-")
	left, err = nftLeft(ctx, host, name)
	if err != nil || left != "" {
		return errors.Join(removeErr, err, fmt.Errorf("cannot remove the nftables rules of %s", name))
	}
	return nil
}

// nftLeft gives the nft commands that remove a bridge's rules; "" if it has none.
func nftLeft(ctx context.Context, host backends.Runner, name string) (string, error) {
	objects, err := nftObjects(ctx, host)
	return nftRemoval(objects, name), err
}

// nftRemoval deletes the table, and our rules in those of others. What is in
// the table goes with it.
func nftRemoval(objects []nftObject, name string) string {
	var out strings.Builder
	for _, o := range objects {
		switch {
		case o.Table != nil && o.Table.Name == name:
			fmt.Fprintf(&out, "delete table %s %s\n", o.Table.Family, name)
		case o.Rule != nil && o.Rule.Table != name && o.Rule.Comment == comment(name):
			fmt.Fprintf(&out, "delete rule %s %s %s handle %d\n", o.Rule.Family, o.Rule.Table, o.Rule.Chain, o.Rule.Handle)
		}
	}
	return out.String()
}

// nftObject is one element of what nft lists; the fields are nil but for one,
// or all.
type nftObject struct {
	Table *struct {
		Family, Name string
	}
	Chain *struct {
		Family, Table, Name, Type, Hook string
	}
	Rule *struct {
		Family, Table, Chain, Comment string
		Handle                        int
	}
}

func nftObjects(ctx context.Context, host backends.Runner) ([]nftObject, error) {
	listed, err := run(ctx, host, "", "nft", "--json", "list", "ruleset")
	if err != nil {
		return nil, err
	}
	var all struct{ Nftables []nftObject }
	if err := json.Unmarshal(listed, &all); err != nil {
		return nil, fmt.Errorf("cannot understand the rules that nft lists: %w", err)
	}
	return all.Nftables, nil
}
