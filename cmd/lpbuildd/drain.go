package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/buildd/operator"
	"lpbuildd/buildd/state"
)

func newDrainCommand() *cobra.Command {
	var wait bool
	var timeout time.Duration
	var reason string
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take no more builds; the one that runs goes on",
		Long: `Take no more builds. A build that runs goes on, and its results stay until the
manager has fetched them and called clean().

From then on status() and build() answer a fault that says so. A manager gives
no build to a builder whose status it cannot have, and blames no build for it;
after some minutes it disables the builder, with the text of the fault as its
note. Whoever undrains the builder after that enables it again at the manager.

The builder stays drained until 'lpbuildd undrain', also over restarts. It may
be drained and undrained while no daemon runs.`,
		Example: `  lpbuildd drain --wait --timeout 2h --reason "new kernel" && reboot
  lpbuildd undrain --config /etc/launchpad-buildd/second`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := openBuilder(cmd, "drain the builder")
			if err != nil {
				return err
			}
			defer b.Close()
			if err := operator.CheckReason(reason); err != nil {
				return fmt.Errorf("cannot drain the builder: --reason: %w", err)
			}
			if timeout < 0 || timeout > 0 && !wait {
				return errors.New("cannot drain the builder: --timeout: want a duration such as 90m, together with --wait")
			}
			if err := buildd.SetDrain(b.State(), buildd.Drain{Since: time.Now(), Reason: reason}); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if wait {
				waiting := func(busy string) { fmt.Fprintf(out, "Waiting: %s.\n", busy) }
				if err := operator.AwaitEmpty(cmd.Context(), b.State(), timeout, waiting); err != nil {
					return err
				}
			}
			return reportDrained(out, b.State())
		},
	}
	addOperatorFlags(cmd.Flags())
	cmd.Flags().BoolVar(&wait, "wait", false, "return when no build is left, that is when the manager has fetched the results of the last one")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait, give up after this `duration`; 0 is never")
	cmd.Flags().StringVar(&reason, "reason", "", "one line of `text` for the manager's page of the builder")
	return cmd
}

func newUndrainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undrain",
		Short: "Take builds again",
		Long: `Take builds again, after 'lpbuildd drain'. A manager that has disabled the
builder meanwhile gives it no builds until the builder is enabled there.`,
		Example: "  lpbuildd undrain",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := openBuilder(cmd, "undrain the builder")
			if err != nil {
				return err
			}
			defer b.Close()
			was, err := buildd.Undrain(b.State())
			if err != nil {
				return err
			}
			text := "The builder takes builds again. If the manager has disabled it meanwhile, enable it there."
			if !was {
				text = "The builder was not drained."
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), text)
			return err
		},
	}
	addOperatorFlags(cmd.Flags())
	return cmd
}

// reportDrained says what a drained builder does.
func reportDrained(w io.Writer, folder state.Folder) error {
	busy, err := operator.Busy(folder)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "The builder is drained: %s.\n", cmp.Or(busy, "it has no build"))
	return err
}
