package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

func (a *app) watchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "Follow the log of the build until it has ended",
		Long: `Follow the log of the build, from its beginning, until it has ended. The exit
code tells the outcome. Interrupting it does not disturb the build.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.builder()
			if err != nil {
				return err
			}
			defer c.Close()
			st, err := a.follow(cmd.Context(), c)
			if cmd.Context().Err() != nil {
				return errors.New("stopped watching; the build goes on, 'lpbuild abort' would end it")
			}
			if err != nil {
				return err
			}
			if st.State == buildd.Idle {
				return errors.New("the builder is idle, there is nothing to watch")
			}
			a.out.ended(st, nil, exitCodeOf(st.Outcome))
			return asError(st.Outcome)
		},
	}
}

// follow prints the log of the build until it has ended.
func (a *app) follow(ctx context.Context, c *client.Client) (buildd.Status, error) {
	a.out.startProgress()
	st, err := c.FollowLog(ctx, &stageWatcher{out: a.out}, a.out.showProgress)
	a.out.clearProgress()
	return st, errors.Join(err, a.out.flushLog())
}

// ended reports the outcome of a build, and the exit code of this program. It is
// the last event.
func (p *printer) ended(st buildd.Status, files []string, code int) {
	p.emit(event{
		Event: "outcome", BuildID: st.BuildID, Outcome: st.Outcome, Dependencies: st.Dependencies,
		Files: files, Seconds: p.elapsed(), ExitCode: &code,
	})
	text := string(st.Outcome) + ": " + meaningOf(st)
	switch {
	case p.color && exitCodeOf(st.Outcome) == 0:
		text = "\x1b[1;32m" + text + "\x1b[0m"
	case p.color:
		text = "\x1b[1;31m" + text + "\x1b[0m"
	}
	p.say("%s", text)
}
