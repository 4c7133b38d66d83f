package builders

import (
	"context"
	"errors"
	"fmt"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// say writes one line to the build log. The log keeps its own error.
func (e Env) say(format string, a ...any) {
	_, _ = fmt.Fprintf(e.Log, format+"\n", a...)
}

// inTarget runs a command in the target, its output going to the log.
func (e Env) inTarget(ctx context.Context, argv ...string) error {
	return e.Target.Run(ctx, backends.Command{Argv: argv, Stdout: e.Log, Stderr: e.Log})
}

// onHost runs a command on the host as the build user and returns what it
// printed; its errors go to the log.
func (e Env) onHost(ctx context.Context, argv ...string) (string, error) {
	out, err := backends.Output(ctx, e.Host, backends.Command{Argv: argv, Stderr: e.Log})
	return string(out), err
}

// blame gives err the verdict outcome, unless the build was ended from outside
// or the host is at fault.
func blame(ctx context.Context, outcome verdict.Outcome, err error, advice string) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var judged *verdict.BuildError
	if errors.As(err, &judged) {
		return err
	}
	var fault *verdict.HostFault
	if errors.As(err, &fault) {
		return &verdict.BuildError{Outcome: verdict.BuilderFail, Err: err, Advice: fault.Advice}
	}
	return &verdict.BuildError{Outcome: outcome, Err: err, Advice: advice}
}
