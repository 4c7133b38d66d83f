package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"lpbuildd/buildd/helper"
	"lpbuildd/buildd/supervise"
)

const roleHelper = "helper"

// newHelperCommands returns both ends of the helper service. systemd and the
// daemon start them; people have no use for them.
func newHelperCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: roleHelper, Short: "Do what the connection on standard input asks for, as root", Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return serveHelper(cmd.Context()) },
		},
		{
			Use: helper.RoleAsk + " ROLE", Short: "Ask the helper service for a role", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return askHelper(cmd.Context(), args[0]) },
		},
	}
}

func serveHelper(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := net.FileConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("standard input is no connection: only lpbuildd-helper.socket starts this: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.Join(errors.New("standard input is not of lpbuildd-helper.socket"), c.Close())
	}
	return helper.Server{Program: self, Verbs: supervise.SudoRoles()}.Serve(ctx, conn)
}

func askHelper(ctx context.Context, role string) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	code, err := helper.Ask(ctx, os.Getenv(helper.Variable), role, dir, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with code %d", role, code)
	}
	return err
}
