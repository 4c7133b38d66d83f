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
	"lpbuildd/buildd/build"
	"lpbuildd/buildd/namespace"
	"lpbuildd/buildd/supervise"
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
		role(supervise.RoleSupervise, "Run the build whose socket is standard input", func(ctx context.Context) error {
			return supervise.Supervise(detached(ctx))
		}),
		role(supervise.RoleInit, "Be process 1 of a build", func(context.Context) error {
			code, err := namespace.Init(supervise.RoleRun)
			if err == nil && code != 0 {
				err = fmt.Errorf("the worker of the build ended with code %d", code)
			}
			return err
		}),
		role(supervise.RoleRun, "Do the work of a build", func(ctx context.Context) error {
			return build.Run(detached(ctx), log)
		}),
		{
			Use: supervise.RoleVisitInit, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, args []string) error {
				code, err := supervise.VisitInit(args[0])
				if err == nil && code != 0 {
					err = &visitError{&backends.ExitError{Code: code}}
				}
				return err
			},
		},
		{
			Use: supervise.RoleVisitRun, Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return ofVisit(supervise.VisitRun(cmd.Context(), args[0]))
			},
		},
		role(supervise.RoleCleanup, "Undo what a dead build left behind", func(ctx context.Context) error {
			return supervise.Cleanup(ctx, events)
		}),
		role(supervise.RoleTrash, "Delete what builds have left for later", func(ctx context.Context) error {
			return supervise.EmptyTrash(ctx, wanted(os.Stdin), events)
		}),
		role(supervise.RoleStock, "Look after what is kept for later builds", func(ctx context.Context) error {
			return supervise.Stock(ctx, os.Stdin, os.Stdout)
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
