package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"lpbuildd/buildd/supervisor"
)

// newSupervisorCommands returns the roles of a build's processes. The daemon
// starts them; people have no use for them.
func newSupervisorCommands() []*cobra.Command {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	role := func(name, short string, run func(ctx context.Context) error) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
		}
	}
	// A build goes on when someone asks the daemon's processes to end.
	detached := context.WithoutCancel
	return []*cobra.Command{
		role(supervisor.RoleEnter, "Run the build whose socket is standard input", func(ctx context.Context) error {
			return supervisor.Enter(detached(ctx))
		}),
		role(supervisor.RoleInit, "Be process 1 of a build", func(context.Context) error {
			code, err := supervisor.Init()
			if err == nil && code != 0 {
				err = fmt.Errorf("the worker of the build ended with code %d", code)
			}
			return err
		}),
		role(supervisor.RoleRun, "Do the work of a build", func(ctx context.Context) error {
			return supervisor.Run(detached(ctx), log)
		}),
		role(supervisor.RoleCleanup, "Undo what a dead build left behind", func(ctx context.Context) error {
			return supervisor.Cleanup(ctx)
		}),
		role(supervisor.RoleTrash, "Delete what builds have left for later", func(ctx context.Context) error {
			return supervisor.EmptyTrash(ctx)
		}),
		role(supervisor.RoleStock, "Look after what is kept for later builds", func(ctx context.Context) error {
			return supervisor.Stock(ctx, os.Stdin, os.Stdout)
		}),
	}
}
