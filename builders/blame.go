package builders

import (
	"context"
	"errors"

	"lpbuildd/buildd/verdict"
)

// Blame gives err the verdict outcome, unless the build was ended from outside
// or the host is at fault.
func Blame(ctx context.Context, outcome verdict.Outcome, err error, advice string) error {
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
