package build

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/disk"
)

// container is the target of build types that run in containers, together with
// the network that it needs.
type container struct {
	*incus.Container
	network bridge.Config
	link    *bridge.Bridge // from Start to Stop
	// remote says that the engine is on another machine, and makes the network.
	remote bool
	engine job.Container
}

// newContainer makes a container target, without touching anything yet.
func newContainer(p place) (target, error) {
	s := p.settings
	// What a clean-up has to know if this process dies.
	if err := disk.WriteJSON(p.books.dir.Container(), s.Container); err != nil {
		return nil, err
	}
	c := &container{network: bridgeConfig(s, p.books), remote: s.Container.Remote != "", engine: s.Container}
	cfg := leftovers.Engine(s.Container)
	cfg.BuildID, cfg.BuildDir = p.voice.buildID, p.home.path
	cfg.Series, cfg.Arch, cfg.Constraints = p.common.Series, p.common.ABI, p.common.Constraints
	cfg.CPUs, cfg.Memory = s.Limits.CPUs, s.Limits.Memory
	cfg.Processes = s.Limits.Processes
	cfg.Bridge, cfg.HostAddress, cfg.Address = c.network.Name, c.network.HostAddress(), c.network.ContainerAddress()
	cfg.Record, cfg.Done = p.books.record, p.books.done
	cfg.Notice = func(line string) { p.voice.say("%s", line) }
	cfg.Log = p.voice.daemon
	var err error
	c.Container, err = incus.New(cfg)
	return c, err
}

// bridgeConfig is the network of this builder's containers.
func bridgeConfig(s job.Settings, k *books) bridge.Config {
	subnet := s.Container.Subnet
	if !subnet.IsValid() {
		subnet = bridge.SubnetFor(s.Container.Instance)
	}
	return bridge.Config{
		Name: bridge.NameFor(s.Container.Instance), Subnet: subnet, Firewall: s.Container.Firewall,
		Ports: []uint16{proxyPort(s), archivesPort(s)},
		Host:  backends.Host{}, Record: k.record, Done: k.done,
	}
}

// proxyPort is the port of the proxy of a build in a container, archivesPort
// that of the one for its private archives.
func proxyPort(s job.Settings) uint16    { return uint16(s.ProxyPort) } // checked by the configuration
func archivesPort(s job.Settings) uint16 { return proxyPort(s) + 1 }

// elsewhere says that it is on another machine.
func (c *container) elsewhere() bool { return c.remote }

// room is what the container's own disk has. A command fails when it has none.
func (c *container) room(ctx context.Context) (disk.Room, error) {
	out, err := backends.Output(ctx, c, backends.Command{Argv: []string{"stat", "-f", "-c", "%a %S %c %d", "/"}})
	if err != nil {
		return disk.Room{}, err
	}
	var blocks, size, total int64
	r := disk.Room{}
	if _, err := fmt.Sscan(string(out), &blocks, &size, &total, &r.Inodes); err != nil {
		return disk.Room{}, fmt.Errorf("cannot read what stat says: %w", err)
	}
	r.Bytes = blocks * size
	if total == 0 {
		r.Inodes = disk.Uncounted
	}
	return r, nil
}

// Root is empty: a container has no root directory on the host.
func (c *container) Root() string { return "" }

// Start makes the network, then starts the container.
func (c *container) Start(ctx context.Context) (err error) {
	if c.remote {
		return c.Container.Start(ctx)
	}
	if c.link, err = bridge.Start(ctx, c.network); err != nil {
		return err
	}
	return c.Container.Start(ctx)
}

// Stop removes the container, then the network.
func (c *container) Stop(ctx context.Context) error {
	err := c.Container.Stop(ctx)
	if c.link != nil {
		err = errors.Join(err, c.link.Stop(ctx))
	}
	return err
}

// addresses are where the local proxy of a build listens, and who may use it.
func (c *container) addresses(ctx context.Context) (listen netip.Addr, allow []netip.Prefix, err error) {
	if c.remote {
		return c.Way(ctx)
	}
	build := c.network.ContainerAddress().Addr()
	return c.network.HostAddress().Addr(), []netip.Prefix{netip.PrefixFrom(build, build.BitLen())}, nil
}

// endStrays kills what runs in the container and is no service of it: the
// services are needed to get results out. It returns the names of the dead.
func (c *container) endStrays(ctx context.Context) (string, error) {
	const script = `grep -q /init.scope /proc/1/cgroup || exit 0
for p in /proc/[0-9]*; do
  pid=${p#/proc/}
  if [ "$pid" = 1 ] || [ "$pid" = $$ ]; then continue; fi
  case $(cat "$p/cgroup" 2>/dev/null) in ''|*.service*|*/init.scope*) continue ;; esac
  name=$(cat "$p/comm" 2>/dev/null)
  kill -KILL "$pid" 2>/dev/null && echo "$pid ($name)"
done
exit 0`
	out, err := backends.Output(ctx, c, backends.Command{Argv: []string{"/bin/sh", "-c", script}})
	if err != nil {
		return "", fmt.Errorf("cannot end what the build has left running: %w", err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ", "), nil
}

// keep leaves the network to the next build.
func (c *container) keep(ctx context.Context, _ string, secrets []string, r *kept.Record) error {
	r.Container, r.Engine = incus.KeptName(c.engine.Instance, r.ID), &c.engine
	return c.Keep(ctx, r.Container, secrets)
}

func (c *container) release() error { return c.Release() }
