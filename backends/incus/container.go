// Package incus is run by root, on both sides of the namespaces, and speaks to a
// container engine: it runs builds in containers of LXD (5.0 and newer) or Incus
// (6.0 and newer), on this machine or on another one (spec: backends.md sections 4
// to 10). On the wire this backend is called "lxd", whichever it is.
//
// Base images stay imported, under an alias that names their SHA-1, and are
// used again by later builds; see image.go. Containers are privileged: root in
// a build is as good as root on the machine that runs the container.
//
// Everything that asks the engine has a deadline. An engine that hangs or dies
// is a *verdict.HostFault.
package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// Container implements backends.Lifecycle. Its parts do the work.
type Container struct {
	*guest
	machine  machine
	images   *images
	network  guestNetwork
	files    guestFiles
	commands commands
	launcher launcher
}

var _ backends.Lifecycle = (*Container)(nil)

// New prepares a Container and touches nothing, not even the engine.
func New(cfg Config) (*Container, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return assemble(&guest{cfg: cfg, name: containerName(cfg)}), nil
}

// assemble gives a guest its parts.
func assemble(g *guest) *Container {
	c := &Container{
		guest:    g,
		machine:  machine{cfg: g.cfg, host: backends.Host{}},
		images:   &images{guest: g},
		network:  guestNetwork{g},
		files:    guestFiles{g},
		commands: commands{guest: g, retryDelay: firstRetry},
	}
	c.commands.personality, c.commands.personalityErr = backends.Personality(g.cfg.Arch, g.cfg.Series)
	c.launcher = launcher{g, c.machine, c.images, c.network, c.files, c.commands}
	return c
}

// Name is the name of the container, and its host name to the engine.
func (c *Container) Name() string { return c.name }

// Create connects to the engine and imports the image, unless it has it.
func (c *Container) Create(ctx context.Context, image backends.Image) error {
	if image.Type != chrootImage && image.Type != lxdImage {
		return fmt.Errorf("Unhandled image type: %s", image.Type) // spec: backends.md section 5 fixes this text
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.machine.prepareSnap(ctx); err != nil {
		return err
	}
	server, err := connect(ctx, c.cfg)
	if err != nil {
		return endedOr(ctx, err)
	}
	c.server = server
	return c.images.use(ctx, image)
}

// Start makes the container, sets up its files, and starts it.
func (c *Container) Start(ctx context.Context) error { return c.launcher.start(ctx) }

// Way is how a container of an engine on another machine reaches this one: by
// which address of ours, and from which addresses its packets come. The engine's
// machine masquerades them with its own.
func (c *Container) Way(ctx context.Context) (here netip.Addr, from []netip.Prefix, err error) {
	return c.network.way(ctx)
}

// Run implements backends.Runner. A program that is missing in the container is
// exit code 127, as in a shell. The installation of a snap is tried again.
// A container that somebody else stops or deletes is a *verdict.HostFault.
func (c *Container) Run(ctx context.Context, cmd backends.Command) error {
	if err := c.commands.check(ctx, cmd); err != nil {
		return err
	}
	if err := c.launcher.ensureRunning(ctx); err != nil {
		return err
	}
	return c.commands.run(ctx, cmd)
}

// CopyIn implements backends.Target. The new file takes the place of the old
// one at once, when it is complete.
func (c *Container) CopyIn(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	return c.files.copyIn(ctx, content, name, mode)
}

// CopyOut implements backends.Target.
func (c *Container) CopyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	return c.files.copyOut(ctx, name)
}

// KillProcesses stops the container with force, since nothing less is sure to
// end all that a build may have set up in it. A later command starts it again.
func (c *Container) KillProcesses(ctx context.Context) error { return c.killAll(ctx) }

// Stop deletes the container, with force if it runs.
func (c *Container) Stop(ctx context.Context) error { return c.destroy(ctx) }

// Remove deletes the profile, the network and the build directory, and the
// container if Stop did not. The image is kept.
func (c *Container) Remove(ctx context.Context) error {
	errs := []error{c.Stop(ctx)}
	for _, kind := range []string{KindProfile, KindNetwork} {
		if errs[0] != nil || !c.has(kind) {
			continue // what uses it is still there
		}
		errs[0] = remove(ctx, c.server, kind, c.nameOf(kind))
		if errs[0] == nil {
			errs = append(errs, c.gone(kind))
		}
	}
	if c.cfg.BuildDir != "" {
		errs = append(errs, verdict.MarkHostFault(os.RemoveAll(c.cfg.BuildDir)))
	}
	return errors.Join(errs...)
}
