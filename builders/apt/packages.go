package apt

import (
	"context"
	"errors"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
)

// Install installs packages in the target.
func Install(ctx context.Context, env builders.Env, names ...string) error {
	return Get(ctx, env, append([]string{"-y", "install"}, names...)...)
}

// Available returns those of the packages that apt in the target knows
// and that are not purely virtual, in one call.
func Available(ctx context.Context, env builders.Env, names ...string) ([]string, error) {
	out, err := backends.Output(ctx, env.Target, backends.Command{Argv: append([]string{"apt-cache", "show"}, names...)})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) { // it may fail because one is missing
		return nil, err
	}
	known := strings.Split(string(out), "\n")
	var available []string
	for _, name := range names {
		if slices.Contains(known, "Package: "+name) {
			available = append(available, name)
		}
	}
	return available, nil
}
