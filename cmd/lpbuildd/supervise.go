package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"lpbuildd/backends"
	"lpbuildd/buildd/supervisor"
)

// newSupervisorCommands returns the roles of a build's processes. The daemon
// starts them; people have no use for them.
func newSupervisorCommands() []*cobra.Command {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	events := slog.New(slog.NewTextHandler(os.Stdout, nil))
	role := func(name, short string, run func(ctx context.Context) error) *cobra.Command {
		return &cobra.Command{
			Use: name, Short: short, Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context()) },
		}
	}
	// A build goes on when someone asks the daemon's processes to end.
	detached := context.WithoutCancel
	return []*cobra.Command{
		role(supervisor.RoleSupervise, "Run the build whose socket is standard input", func(ctx context.Context) error {
			return supervisor.Supervise(detached(ctx))
		}),
		role(supervisor.RoleInit, "Be process 1 of a build", func(context.Context) error {
			code, err := supervisor.Init(supervisor.RoleRun)
			if err == nil && code != 0 {
				err = fmt.Errorf("the worker of the build ended with code %d", code)
			}
			return err
		}),
		role(supervisor.RoleRun, "Do the work of a build", func(ctx context.Context) error {
			return supervisor.Run(detached(ctx), log)
		}),
		{
			Use: supervisor.RoleVisitInit, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				code, err := supervisor.VisitInit(args[0])
				if err == nil && code != 0 {
					err = &visitError{&backends.ExitError{Code: code}}
				}
				return err
			},
		},
		{
			Use: supervisor.RoleVisitRun, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return ofVisit(supervisor.VisitRun(cmd.Context(), args[0]))
			},
		},
		role(supervisor.RoleCleanup, "Undo what a dead build left behind", func(ctx context.Context) error {
			return supervisor.Cleanup(ctx, events)
		}),
		role(supervisor.RoleTrash, "Delete what builds have left for later", func(ctx context.Context) error {
			return supervisor.EmptyTrash(ctx, wanted(os.Stdin), events)
		}),
		role(supervisor.RoleStock, "Look after what is kept for later builds", func(ctx context.Context) error {
			return supervisor.Stock(ctx, os.Stdin, os.Stdout)
		}),
	}
}

// wanted is how many bytes of room the daemon asks for.
func wanted(in io.Reader) int64 {
	const plenty = 4096
	text, err := backends.ReadAll(in, plenty)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n < 0 {
		return 0 // asked for by a person, who types nothing
	}
	return n
}
