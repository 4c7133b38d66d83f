package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/backends/terminal"
)

// KeptName is the name of a container that is kept: not that of any build's.
func KeptName(instance, id string) string {
	name := "lp-kept-" + sanitize(instance)
	return strings.TrimRight(name[:min(len(name), maxName-len(id)-1)], "-") + "-" + id
}

// Keep makes the container outlive its build: it is stopped, has no network,
// depends on no profile, and gets another name, which is recorded first. The
// paths in unwanted are deleted in it. After an error Stop and Remove can be
// called as always, and after a success too, until Release.
func (c *Container) Keep(ctx context.Context, name string, unwanted []string) error {
	if err := halt(ctx, c.server, c.name); err != nil {
		return err
	}
	if len(unwanted) > 0 {
		err := c.withFiles(ctx, func(s *session) error { return s.erase(unwanted) })
		if err != nil {
			return c.fileError(ctx, "delete", strings.Join(unwanted, " "), err)
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
	own := profile(alone, c.name, newestLXC, nil)
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

// erase deletes paths and what is below them. Missing ones are fine.
func (s *session) erase(paths []string) error {
	for _, path := range paths {
		err := s.timed(func() error {
			if _, err := s.client.Lstat(path); err != nil {
				return err
			}
			return s.client.RemoveAll(path)
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// Visit is a command for somebody who looks into a container that is kept.
type Visit struct {
	Argv, Env      []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal is a raw terminal for all three, nil without one.
	Terminal *os.File
}

// Enter starts a container that is kept, runs a command in it, and stops it. A
// command that fails is a *backends.ExitError.
func Enter(ctx context.Context, cfg Config, name string, v Visit) (err error) {
	cfg = cfg.withDefaults()
	server, err := connect(ctx, cfg)
	if err != nil {
		return endedOr(ctx, err)
	}
	c := &Container{cfg: cfg, name: name, server: server, made: []string{KindContainer}, host: backends.Host{}}
	if c.personality, err = backends.Personality(cfg.Arch, cfg.Series); err != nil {
		return err
	}
	defer func() {
		if stopErr := halt(context.WithoutCancel(ctx), server, name); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
	}()
	if err := c.resume(ctx); err != nil {
		return err
	}
	return c.visit(ctx, v)
}

// resume starts the container, unless it runs already.
func (c *Container) resume(ctx context.Context) error {
	state, err := containerState(ctx, c.server, c.name)
	if err != nil {
		return err
	}
	if state == api.Running {
		return nil
	}
	return c.boot(ctx, "")
}

// visit runs the command.
func (c *Container) visit(ctx context.Context, v Visit) error {
	ctx, over := context.WithCancelCause(ctx)
	defer over(nil)
	argv := slices.Concat(c.personality, v.Argv)
	post := api.InstanceExecPost{Command: argv, WaitForWS: true, Environment: environment(v.Env), Cwd: "/"}
	args := &client.InstanceExecArgs{Stdin: v.Stdin, Stdout: v.Stdout, Stderr: v.Stderr, DataDone: make(chan bool)}
	if v.Terminal != nil {
		post.Interactive = true
		post.Width, post.Height = terminal.Size(v.Terminal)
		args.Control = func(conn *websocket.Conn) { followSize(ctx, conn, v.Terminal) }
	}
	const what = "run a command in the container"
	op, err := ask(ctx, c.server, what, func(e engine) (client.Operation, error) { return e.ExecInstance(c.name, post, args) })
	if err != nil {
		return err
	}
	done, err := c.server.wait(ctx, what, op.Get().ID, noDeadline)
	if err != nil {
		return err
	}
	select {
	case <-args.DataDone:
	case <-time.After(drainTime):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if code, _ := done.Metadata["return"].(float64); code != 0 {
		return &backends.ExitError{Argv: v.Argv, Code: int(code)}
	}
	return nil
}

// followSize tells the engine whenever the terminal changes its size, until the
// visit is over.
func followSize(ctx context.Context, conn *websocket.Conn, t *os.File) {
	stop := terminal.OnResize(func() {
		columns, rows := terminal.Size(t)
		// What does not arrive makes lines too long.
		_ = conn.WriteJSON(api.InstanceExecControl{Command: "window-resize", Args: map[string]string{
			"width": strconv.Itoa(columns), "height": strconv.Itoa(rows),
		}})
	})
	<-ctx.Done()
	stop()
}
