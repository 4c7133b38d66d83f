package incus

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/backends/terminal"
)

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
	c := assemble(&guest{cfg: cfg, name: name, server: server, made: []string{KindContainer}})
	if c.commands.personalityErr != nil {
		return c.commands.personalityErr
	}
	defer func() {
		if stopErr := halt(context.WithoutCancel(ctx), server, name); stopErr != nil {
			err = errors.Join(err, stopErr)
		}
	}()
	if err := c.launcher.resume(ctx); err != nil {
		return err
	}
	return c.commands.visit(ctx, v)
}

// visit runs the command.
func (c commands) visit(ctx context.Context, v Visit) error {
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
