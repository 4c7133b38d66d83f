package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

// abortPatience is for how long an abort is waited for; managers wait as long
// (spec: client.md section 6).
const abortPatience = 180 * time.Second

func (a *app) abortCommand() *cobra.Command {
	var wait bool
	cmd := &cobra.Command{
		Use:   "abort",
		Short: "Abort the build",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			if !wait {
				if err := c.Abort(cmd.Context()); err != nil {
					return err
				}
				a.out.emit(event{Event: "aborting"})
				a.out.say("The builder aborts the build; 'lpbuild watch' shows when that is done.")
				return nil
			}
			st, err := a.abort(cmd.Context(), c)
			if err != nil {
				return err
			}
			a.out.ended(st, nil, 0)
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the build has ended")
	return cmd
}

// abort aborts the build and waits for its end. That the build has ended
// meanwhile is as good. A builder that does not answer is not waited for: whoever
// interrupts wants to go.
func (a *app) abort(ctx context.Context, c *client.Client) (buildd.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, abortPatience, fmt.Errorf("the builder did not end the build within %v", abortPatience))
	defer cancel()
	a.out.startProgress()
	aborted := c.Abort(ctx)
	if aborted == nil {
		a.out.emit(event{Event: "aborting"})
	}
	if unreachable := (*url.Error)(nil); errors.As(aborted, &unreachable) {
		a.out.clearProgress()
		return buildd.Status{}, aborted
	}
	st, err := c.FollowLog(ctx, io.Discard, a.out.showProgress)
	a.out.clearProgress()
	switch {
	case err != nil:
		return st, errors.Join(aborted, err)
	case st.State != buildd.Waiting && aborted != nil:
		return st, aborted
	case st.State != buildd.Waiting:
		return st, errLost
	}
	return st, nil
}

// errLost reports a builder that has forgotten its build.
var errLost = errors.New("the builder has lost the build; its own log may say why")
