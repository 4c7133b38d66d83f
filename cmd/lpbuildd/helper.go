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

// helperVariable names the socket of the helper service. The daemon's unit sets
// it; without it an unprivileged daemon uses sudo.
const helperVariable = "LPBUILDD_HELPER"

// installedHelper is that socket where the package is installed.
const installedHelper = "/run/lpbuildd/helper"

// helperSocket is the socket that a daemon on this machine would use, "" if it
// would use sudo.
func helperSocket() string {
	if socket := os.Getenv(helperVariable); socket != "" {
		return socket
	}
	if _, err := os.Lstat(installedHelper); err != nil {
		return ""
	}
	return installedHelper
}

const (
	roleHelper = "helper"
	roleAsk    = "ask-helper"
)

// asRoot is how a daemon of this user starts its privileged roles: the words
// before the name of the role.
func asRoot(self string, uid int) []string {
	switch {
	case uid == 0:
		return []string{self}
	case os.Getenv(helperVariable) != "":
		return []string{self, roleAsk}
	}
	return []string{"sudo", "-n", self}
}

// newHelperCommands returns both ends of the helper service. systemd and the
// daemon start them; people have no use for them.
func newHelperCommands() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: roleHelper, Short: "Do what the connection on standard input asks for, as root", Hidden: true, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return serveHelper(cmd.Context()) },
		},
		{
			Use: roleAsk + " ROLE", Short: "Ask the helper service for a role", Hidden: true, Args: cobra.ExactArgs(1),
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
	code, err := helper.Ask(ctx, os.Getenv(helperVariable), role, dir, [3]*os.File{os.Stdin, os.Stdout, os.Stderr})
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ended with code %d", role, code)
	}
	return err
}
