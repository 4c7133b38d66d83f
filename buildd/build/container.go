package build

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
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
}

// newContainer makes a container target, without touching anything yet.
func newContainer(b *build) (target, error) {
	// What Cleanup has to know if this process dies.
	if err := disk.WriteJSON(b.dir.Container(), b.request.Settings.Container); err != nil {
		return nil, err
	}
	c := &container{network: network(b), remote: b.request.Settings.Container.Remote != ""}
	cfg := leftovers.Engine(b.request.Settings.Container)
	cfg.BuildID, cfg.BuildDir = b.request.BuildID, b.home
	cfg.Series, cfg.Arch, cfg.Constraints = b.common.Series, b.common.ABI, b.common.Constraints
	cfg.CPUs, cfg.Memory = b.request.Settings.Limits.CPUs, b.request.Settings.Limits.Memory
	cfg.Processes = b.request.Settings.Limits.Processes
	cfg.Bridge, cfg.HostAddress, cfg.Address = c.network.Name, c.network.HostAddress(), c.network.ContainerAddress()
	cfg.Record, cfg.Done = b.record, b.done
	cfg.Notice = func(line string) { b.say("%s", line) }
	cfg.Log = b.daemon
	var err error
	c.Container, err = incus.New(cfg)
	return c, err
}

// network is the network of this builder's containers.
func network(b *build) bridge.Config {
	s := b.request.Settings
	subnet := s.Container.Subnet
	if !subnet.IsValid() {
		subnet = bridge.SubnetFor(s.Container.Instance)
	}
	return bridge.Config{
		Name: bridge.NameFor(s.Container.Instance), Subnet: subnet, Firewall: s.Container.Firewall,
		Ports: []uint16{proxyPort(s), archivesPort(s)},
		Host:  backends.Host{}, Record: b.record, Done: b.done,
	}
}

// proxyPort is the port of the proxy of a build in a container, archivesPort
// that of the one for its private archives.
func proxyPort(s job.Settings) uint16    { return uint16(s.ProxyPort) } // checked by the configuration
func archivesPort(s job.Settings) uint16 { return proxyPort(s) + 1 }

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

// record and done keep the ledger for the backends.
func (b *build) record(kind, name string) error {
	return b.ledger.Add(ledger.Entry{Kind: ledger.Kind(kind), Name: name})
}

func (b *build) done(kind, name string) error {
	return b.ledger.Done(ledger.Entry{Kind: ledger.Kind(kind), Name: name})
}
