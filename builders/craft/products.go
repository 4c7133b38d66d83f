package craft

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
	"lpbuildd/builders/container"
)

// scanProducts looks for malware in what would be handed over, and in nothing
// else.
func (c *builder) scanProducts(ctx context.Context, env builders.Env) error {
	there, err := backends.IsDir(ctx, env.Target, c.dir())
	var found []string
	if err == nil && there {
		found, err = builders.Products(ctx, env, c.dir(), c.tool.product)
	}
	if err != nil {
		return fmt.Errorf("cannot look for what to scan for malware: %w", err)
	}
	if len(found) == 0 {
		env.Say("There is no %s file to scan for malware.", c.tool.product)
		return nil
	}
	for i, name := range found {
		found[i] = c.dir() + "/" + name
	}
	return container.ScanForMalware(func(argv ...string) error { return env.BuildCommand(ctx, c.dir(), nil, argv...) }, found...)
}

// Gather hands over what the tool made. There may be nothing, and no folder.
func (c *builder) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) error {
	suffixes := []string{c.tool.product}
	if c.tool.extra != "" {
		suffixes = append(suffixes, c.tool.extra)
	}
	there, err := backends.IsDir(ctx, env.Target, c.dir())
	if err != nil {
		return fmt.Errorf("cannot look at %s: %w", c.dir(), err)
	}
	if !there {
		env.Say("WARNING: the build left no folder %s.", c.dir())
		return nil
	}
	names, err := builders.Products(ctx, env, c.dir(), suffixes...)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(name, c.tool.product) }) {
		env.Say("WARNING: the build made no %s file in %s.", c.tool.product, c.dir())
	}
	for _, name := range names {
		if err := builders.GatherProduct(ctx, env, c.dir(), name, add); err != nil {
			return err
		}
	}
	return nil
}
