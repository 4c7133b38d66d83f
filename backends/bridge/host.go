package bridge

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"

	"lpbuildd/backends"
)

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

func installed(program string) bool {
	_, err := lookPath(program)
	return err == nil
}

func lookPath(program string) (string, error) { return backends.Host{}.LookPath(program) }

// exists asks the kernel, not /sys, which may show another network namespace.
func exists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}
