package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/buildd/state"
)

// drainPause is the pause between two looks at the builder.
const drainPause = time.Second

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
			s, err := openSite(cmd, "drain the builder")
			if err != nil {
				return err
			}
			defer s.close()
			if strings.ContainsFunc(reason, unicode.IsControl) || len(reason) > maxReason {
				return fmt.Errorf("cannot drain the builder: --reason: want one line of at most %d bytes", maxReason)
			}
			if timeout < 0 || timeout > 0 && !wait {
				return errors.New("cannot drain the builder: --timeout: want a duration such as 90m, together with --wait")
			}
			if err := buildd.SetDrain(s.state(), buildd.Drain{Since: time.Now(), Reason: reason}); err != nil {
				return err
			}
			w := waiter{out: cmd.OutOrStdout(), state: s.state(), pause: drainPause}
			if !wait {
				return w.report()
			}
			return w.wait(cmd.Context(), timeout)
		},
	}
	addOperatorFlags(cmd.Flags())
	cmd.Flags().BoolVar(&wait, "wait", false, "return when no build is left, that is when the manager has fetched the results of the last one")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait, give up after this `duration`; 0 is never")
	cmd.Flags().StringVar(&reason, "reason", "", "one line of `text` for the manager's page of the builder")
	return cmd
}

// maxReason is how long a reason may be, for it is shown in one line.
const maxReason = 200

func newUndrainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undrain",
		Short: "Take builds again",
		Long: `Take builds again, after 'lpbuildd drain'. A manager that has disabled the
builder meanwhile gives it no builds until the builder is enabled there.`,
		Example: "  lpbuildd undrain",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openSite(cmd, "undrain the builder")
			if err != nil {
				return err
			}
			defer s.close()
			was, err := buildd.Undrain(s.state())
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

// waiter looks at a drained builder.
type waiter struct {
	out   io.Writer
	state state.Folder
	pause time.Duration
}

// look describes what keeps a drained builder from being empty, "" if nothing
// does.
func (w waiter) look() (string, error) {
	seen, err := buildd.Look(w.state)
	switch {
	case err != nil:
		return "", err
	case seen.State == buildd.Idle:
		return "", nil
	case seen.State == buildd.Waiting:
		return fmt.Sprintf("the results of %q wait for the manager", seen.BuildID), nil
	}
	return fmt.Sprintf("%q still runs (%s)", seen.BuildID, seen.State), nil
}

// report says what a drained builder does.
func (w waiter) report() error {
	busy, err := w.look()
	if err != nil {
		return err
	}
	if busy == "" {
		busy = "it has no build"
	}
	_, err = fmt.Fprintf(w.out, "The builder is drained: %s.\n", busy)
	return err
}

// wait returns when there is no build. It begins with a pause, after which a
// build that was accepted at the same moment is seen.
func (w waiter) wait(ctx context.Context, limit time.Duration) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	said := ""
	for {
		select {
		case <-ctx.Done():
			return w.gaveUp(ctx, limit)
		case <-time.After(w.pause):
		}
		busy, err := w.look()
		if err != nil || busy == "" {
			return errors.Join(err, w.report())
		}
		if busy != said {
			said = busy
			fmt.Fprintf(w.out, "Waiting: %s.\n", busy)
		}
	}
}

// gaveUp says why the wait was in vain.
func (w waiter) gaveUp(ctx context.Context, limit time.Duration) error {
	busy, err := w.look()
	if err != nil {
		return err
	}
	after := "interrupted"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		after = fmt.Sprintf("after %s", limit)
	}
	return fmt.Errorf("the builder is drained, but not empty %s: %s; wait longer, or abort the build at the manager ('lpbuildd undrain' takes builds again)", after, busy)
}
