package container

import (
	"bytes"
	"context"
	"fmt"

	"lpbuildd/builders"
	"lpbuildd/builders/apt"
)

// fetchServiceCA is the certificate with which the fetch service intercepts TLS.
const fetchServiceCA = "/usr/local/share/ca-certificates/local-ca.crt"

// UseFetchService makes the target trust and use the fetch service, if there is
// one (spec: proxy.md section 7).
func UseFetchService(ctx context.Context, env builders.Env, p builders.ProxyArgs) error {
	if !p.UseFetchService {
		return nil
	}
	certificate, err := p.DecodeCertificate()
	if err != nil {
		return err
	}
	if env.Proxy != nil {
		settings := fmt.Sprintf("Acquire::http::Proxy %q;\nAcquire::https::Proxy %q;\n\n", env.Proxy.URL, env.Proxy.URL)
		if err := builders.WriteText(ctx, env, apt.ProxySettings, settings); err != nil {
			return err
		}
	}
	// Lists that were fetched without the service would hide what it must see.
	if err := env.InTarget(ctx, "rm", "-rf", "/var/lib/apt/lists"); err != nil {
		return err
	}
	if err := env.Target.CopyIn(ctx, bytes.NewReader(certificate), fetchServiceCA, 0o644); err != nil {
		return fmt.Errorf("cannot write %s in the target: %w", fetchServiceCA, err)
	}
	if err := inTargetAll(ctx, env, certificateCommands(env)); err != nil {
		return err
	}
	if err := apt.Get(ctx, env, "-y", "update"); err != nil {
		return err
	}
	return inTargetAll(ctx, env, restartCommands(env))
}

func inTargetAll(ctx context.Context, env builders.Env, commands [][]string) error {
	for _, argv := range commands {
		if err := env.InTarget(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

func certificateCommands(env builders.Env) [][]string {
	commands := [][]string{{"update-ca-certificates"}}
	if env.Proxy != nil {
		commands = append(commands,
			[]string{"snap", "set", "system", "proxy.http=" + env.Proxy.URL},
			[]string{"snap", "set", "system", "proxy.https=" + env.Proxy.URL})
	}
	return commands
}

func restartCommands(env builders.Env) [][]string {
	commands := [][]string{{"systemctl", "restart", "snapd"}}
	if env.Common.Series == "focal" {
		// Its git would use version 0, which the fetch service does not know.
		commands = append(commands, []string{"git", "config", "--global", "protocol.version", "2"})
	}
	return commands
}
