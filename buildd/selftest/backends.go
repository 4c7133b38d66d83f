package selftest

import (
	"context"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
)

const needsRoot = "Run the test as root to have it checked."

// overlay checks that chroots can be made in a moment.
func (t *tester) overlay(ctx context.Context) Finding {
	const advice = "Builds unpack their base image each time. Load the kernel module overlay, and keep HOME and the cache on ext4, xfs or btrfs."
	switch {
	case t.Settings.Overlay == "never":
		return skipped("[chroot] overlay is never", "")
	case !t.Root:
		return skipped("mounting needs root", needsRoot)
	}
	if err := chroot.TryOverlay(ctx, t.Cache.StateDir(), t.Settings.Home); err != nil {
		return warning(err.Error(), advice)
	}
	return ok("an overlay in %s on a root in %s works", t.Settings.Home, t.Settings.FileCache)
}

// engineWait is how long the container engine may take.
const engineWait = 30 * time.Second

// containers is how the container engine is reached.
func (t *tester) containers() incus.Config {
	s := t.Settings.Container
	return incus.Config{
		Engine: s.Engine, Socket: s.Socket, Pool: s.Pool, Project: s.Project, Instance: s.Instance,
		Remote: s.Remote, ClientCert: s.ClientCert, ClientKey: s.ClientKey, ServerCert: s.ServerCert,
	}
}

// engine checks that there is one, and what containers are stored in.
func (t *tester) engine(ctx context.Context) Finding {
	const advice = "Install LXD or Incus, start it, and make a storage pool; see [backend] of the configuration."
	switch {
	case !incus.Installed(t.containers()):
		return warning("there is none: no builds of snaps, OCI images and others that need containers", advice)
	case !t.Root && t.Settings.Container.Remote == "":
		return skipped("it is there; asking it needs root", needsRoot)
	}
	ctx, cancel := context.WithTimeout(ctx, engineWait)
	defer cancel()
	stock, err := incus.OpenStock(ctx, t.containers())
	if err != nil {
		return failure(err, advice)
	}
	host, err := stock.Describe(ctx)
	if err != nil {
		return failure(err, "Make the storage pool, or name another in [backend] pool.")
	}
	f := ok("%s", host)
	if !host.CopyOnWrite() {
		f.Advice = "A pool on btrfs or zfs would spare each build several seconds: see [backend] pool of the configuration."
	}
	return f
}

// network checks what the network of a container needs.
func (t *tester) network(ctx context.Context) Finding {
	s := t.Settings.Container
	if s.Remote == "" && !incus.Installed(t.containers()) {
		return skipped("there is no container engine", "")
	}
	subnet := s.Subnet
	if !subnet.IsValid() {
		subnet = bridge.SubnetFor(s.Instance)
	}
	c := bridge.Config{Name: bridge.NameFor(s.Instance), Subnet: subnet, Firewall: s.Firewall, Host: backends.Host{}}
	firewall, err := bridge.Probe(ctx, c)
	if err != nil {
		return failure(err, "Install the packages iproute2, dnsmasq-base and nftables.")
	}
	return ok("%s on the bridge %s is free; rules are made with %s", subnet, c.Name, firewall)
}
