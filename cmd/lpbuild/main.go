// Command lpbuild is run by people and by scripts, without any privilege: it drives a
// builder over XML-RPC, and touches the network and the folders that it is told of.
//
// Each subcommand has a file of its own. Messages for people go to standard
// error; logs and results go to standard output, or, with --json, one JSON
// object per event. Everything that comes from a builder is untrusted: names
// of files never lead out of the output folder, and nothing that a terminal
// would obey is printed to one.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/cmd/manpages"
)

// version is set by the Makefile to that of debian/changelog.
var version = "unknown" // the linker can set nothing else

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The second signal kills, in case the builder does not react to the first.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line with the given output and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{poll: 250 * time.Millisecond, out: newPrinter(stdout, stderr)}
	return a.run(ctx, args)
}

// run runs the command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.command() //nolint:contextcheck // cobra hands the context to the commands
	root.SetArgs(args)
	root.SetOut(a.out.stdout)
	root.SetErr(a.out.stderr)
	return a.exitCode(root.ExecuteContext(ctx))
}

// command makes the tree of commands.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "lpbuild",
		Short: "Drive a builder: offer files, build, watch, fetch the results",
		Long: `Drive a builder: offer files, build, watch, fetch the results.

"lpbuild run" does it all for a Debian source package or a git repository. The
other commands are the single steps.

Exit codes:
  0  all is well
  1  wrong usage, or the builder cannot be reached or refused
  2  the package failed to build (PACKAGEFAIL)
  3  build dependencies are missing (DEPFAIL)
  4  the builder gave the build back (GIVENBACK)
  5  the base image is broken (CHROOTFAIL)
  6  the builder is broken (BUILDERFAIL)
  7  the build was aborted (ABORTED)`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	builder, ok := os.LookupEnv("LPBUILD_URL")
	if !ok || builder == "" {
		builder = "http://127.0.0.1:8221"
	}
	root.PersistentFlags().StringVar(&a.url, "url", builder, "`URL` of the builder; also by LPBUILD_URL")
	root.PersistentFlags().BoolVar(&a.out.json, "json", false, "print one JSON object per event, the last one with the outcome")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w\nSee '%s --help'.", err, cmd.CommandPath())
	})
	root.AddCommand(a.statusCommand(), a.infoCommand(), a.ensureCommand(), a.buildCommand(), a.watchCommand(),
		a.abortCommand(), a.cleanCommand(), a.fetchCommand(), a.runCommand())
	root.AddCommand(manpages.Book{Section: 1, SeeAlso: []string{"lpbuildd(8)"}}.NewCommand())
	root.CompletionOptions.HiddenDefaultCmd = true // the package has them
	for _, c := range root.Commands() {
		c.Args = explained(c.Args)
	}
	return root
}

// explained adds to a complaint about the number of arguments what they are.
func explained(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w\nUsage: %s\nSee '%s --help'.", err, cmd.UseLine(), cmd.CommandPath())
		}
		return nil
	}
}

// exitCode reports the error of a command and returns the exit code for it.
func (a *app) exitCode(err error) int {
	if err == nil {
		return 0
	}
	code := exitFailure
	if out := (*outcomeError)(nil); errors.As(err, &out) {
		return out.code // has been reported as the outcome
	}
	a.out.failed(explain(err, a.url), code)
	return code
}
