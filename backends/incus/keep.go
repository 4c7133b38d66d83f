package incus

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strings"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"
)

// Keep makes the container outlive its build: it is stopped, has no network,
// depends on no profile, and gets another name, which is recorded first. The
// paths in unwanted are deleted in it. After an error Stop and Remove can be
// called as always, and after a success too, until Release.
func (c *Container) Keep(ctx context.Context, name string, unwanted []string) error {
	if err := halt(ctx, c.server, c.name); err != nil {
		return err
	}
	if len(unwanted) > 0 {
		err := c.files.withFiles(ctx, func(s *session) error { return s.erase(unwanted) })
		if err != nil {
			return c.files.fileError(ctx, "delete", strings.Join(unwanted, " "), err)
		}
	}
	if err := c.standAlone(ctx); err != nil {
		return err
	}
	old := c.name
	if err := c.cfg.Record(KindContainer, name); err != nil {
		return err
	}
	err := persist(ctx, func() error {
		return do(ctx, c.server, "rename the container", callTime, func(e engine) (client.Operation, error) {
			return e.RenameInstance(old, api.InstancePost{Name: name})
		})
	})
	if err != nil {
		return errors.Join(err, c.cfg.Done(KindContainer, name))
	}
	c.name = name
	err = deleteProfile(ctx, c.server, old)
	if err == nil {
		err = c.cfg.Done(KindProfile, old)
	}
	if err != nil {
		// It stays on record, and is deleted with the next clean-up.
		c.cfg.Log.Warn("Cannot delete the profile of a kept container", "error", err)
	}
	return c.cfg.Done(KindContainer, old)
}

// Release says that somebody else is to delete a container that is kept.
func (c *Container) Release() error { return errors.Join(c.gone(KindContainer), c.gone(KindProfile)) }

// standAlone gives the container of its own what its profile has, without the
// network.
func (c *Container) standAlone(ctx context.Context) error {
	const what = "take the container from its network"
	found, err := ask(ctx, c.server, what, func(e engine) (*api.Instance, error) {
		instance, _, err := e.GetInstance(c.name)
		return instance, err
	})
	if err != nil {
		return err
	}
	alone := c.cfg
	alone.Bridge, alone.HostAddress, alone.Address = "", netip.Prefix{}, netip.Prefix{}
	own := profileFor(alone, c.name, newestLXC, nil)
	put := found.Writable()
	put.Profiles, put.Devices = []string{}, own.Devices
	maps.Copy(put.Config, own.Config)
	put.Config["raw.lxc"] = rawLXC(c.server.major, c.cfg.Arch, netip.Prefix{}, netip.Prefix{})
	put.Description = "a failed build of lpbuildd, kept for a look"
	return persist(ctx, func() error {
		return do(ctx, c.server, what, callTime, func(e engine) (client.Operation, error) {
			return e.UpdateInstance(c.name, put, "")
		})
	})
}
