// Command lpbuildd is the worker of a build farm: it accepts commands from the
// network and runs them as root. Keep its port behind a firewall.
//
// This package reads flags, wires the parts together, and serves, supervises one
// build, cleans up after one, or does what an operator asks for and prints it. What
// happens to a build is decided in the packages that it wires.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// A hang-up makes the daemon read its configuration again (reload.go) and ends
	// no other role. It is caught, not ignored, because builds would inherit an
	// ignored signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(lastWords(os.Stderr, err))
	}
}

// lastWords tells why a command failed and returns the exit status for that.
func lastWords(w io.Writer, err error) int {
	if visit := (*visitError)(nil); !errors.As(err, &visit) {
		fmt.Fprintln(w, "lpbuildd:", err)
	}
	return exitStatus(err)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "lpbuildd",
		Short: "Build packages for a manager that asks for it over XML-RPC",
		Long: "lpbuildd is the worker of a build farm. It accepts commands from the network\n" +
			"and runs them as root: keep its port behind a firewall.",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newConfigCommand(), newEnterCommand(), newKeptCommand())
	root.AddCommand(newOperatorCommands()...)
	root.AddCommand(newSupervisorCommands()...)
	root.AddCommand(newHelperCommands()...)
	root.AddCommand(newManualCommands()...)
	root.CompletionOptions.HiddenDefaultCmd = true // the package has them
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	explainArguments(root)
	return root
}

// newOperatorCommands returns the commands for the operator of a builder.
func newOperatorCommands() []*cobra.Command {
	return []*cobra.Command{newDrainCommand(), newUndrainCommand(), newGCCommand(), newImageCommand(), newSelftestCommand()}
}

// explainArguments adds to the complaints of all commands about their arguments
// what these are.
func explainArguments(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return fmt.Errorf("%w; usage: %s; see '%s --help'", err, cmd.UseLine(), cmd.CommandPath())
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		explainArguments(c)
	}
}
