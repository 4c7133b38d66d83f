package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lpbuildd/backends"
)

// iptables keeps the rules in chains of the bridge's own, one in each table,
// that the kernel's chains jump to. The jumps have no condition but the name,
// so that the name is enough to find them.
type iptables struct{}

// inputChain is the second chain of the filter table.
func inputChain(name string) string { return name + "-in" }

func (iptables) open(ctx context.Context, c Config) error {
	_, err := run(ctx, c.Host, iptablesRules(c), "iptables-restore", "--wait", "--noflush")
	return err
}

func iptablesRules(c Config) string {
	name, subnet, mark := c.Name, c.subnet().String(), ` -m comment --comment "`+comment(c.Name)+`"`
	lines := []string{
		"*mangle", ":" + name + " - [0:0]",
		"-A " + name + " -i " + name + " -p tcp -m tcp --tcp-flags SYN,RST SYN" + mark + " -j TCPMSS --clamp-mss-to-pmtu",
		"-A FORWARD" + mark + " -j " + name,
		"COMMIT",
		"*nat", ":" + name + " - [0:0]",
		"-A " + name + " -s " + subnet + " ! -d " + subnet + mark + " -j MASQUERADE",
		"-A POSTROUTING" + mark + " -j " + name,
		"COMMIT",
		"*filter", ":" + name + " - [0:0]", ":" + inputChain(name) + " - [0:0]",
		"-A " + name + " -i " + name + mark + " -j ACCEPT",
		"-A " + name + " -o " + name + mark + " -j ACCEPT",
		"-A " + inputChain(name) + " -i " + name + " -p udp -m udp --dport 53" + mark + " -j ACCEPT",
	}
	for _, port := range append([]uint16{53}, c.Ports...) {
		lines = append(lines, fmt.Sprintf("-A %s -i %s -p tcp -m tcp --dport %d%s -j ACCEPT", inputChain(name), name, port, mark))
	}
	// First, before what may refuse the packets.
	lines = append(lines, "-I FORWARD 1"+mark+" -j "+name, "-I INPUT 1"+mark+" -j "+inputChain(name), "COMMIT", "")
	return strings.Join(lines, "\n")
}

func (iptables) remove(ctx context.Context, host backends.Runner, name string) error {
	left, err := iptablesOf(ctx, host, name)
	if err != nil || left == "" {
		return err
	}
	_, removeErr := run(ctx, host, left, "iptables-restore", "--wait", "--noflush")
	left, err = iptablesOf(ctx, host, name)
	if err != nil || left != "" {
		return errors.Join(removeErr, err, fmt.Errorf("cannot remove the iptables rules of %s", name))
	}
	return nil
}

// iptablesOf gives the iptables-restore commands that remove a bridge's chains;
// "" if it has none.
func iptablesOf(ctx context.Context, host backends.Runner, name string) (string, error) {
	saved, err := run(ctx, host, "", "iptables-save")
	if err != nil {
		return "", err
	}
	return iptablesRemoval(string(saved), name), nil
}

// iptablesRemoval turns the output of iptables-save into those commands.
func iptablesRemoval(saved, name string) string {
	ours := map[string]bool{name: true, inputChain(name): true}
	var out, jumps, chains []string
	table := ""
	for line := range strings.Lines(saved) {
		line = strings.TrimSuffix(line, "\n")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
		case strings.HasPrefix(line, "*"):
			table, jumps, chains = line, nil, nil
		case line == "COMMIT" && len(jumps)+len(chains) > 0:
			out = append(out, table)
			out = append(out, jumps...)
			for _, chain := range chains {
				out = append(out, "-F "+chain)
			}
			for _, chain := range chains {
				out = append(out, "-X "+chain)
			}
			out = append(out, "COMMIT")
		case strings.HasPrefix(line, ":") && ours[words[0][1:]]:
			chains = append(chains, words[0][1:])
		case words[0] == "-A" && !ours[words[1]] && jumpsTo(words, ours):
			jumps = append(jumps, "-D"+strings.TrimPrefix(line, "-A"))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "\n") + "\n"
}

func jumpsTo(rule []string, chains map[string]bool) bool {
	for i, word := range rule {
		if word == "-j" && i+1 < len(rule) && chains[rule[i+1]] {
			return true
		}
	}
	return false
}
