package build

import (
	"errors"

	"lpbuildd/buildd/verdict"
)

// stageError is the failure of a stage.
type stageError struct {
	stage Stage
	// failure is how the build ends when nobody knows better.
	failure verdict.Outcome
	err     error
}

func (e *stageError) Error() string { return e.err.Error() }

func (e *stageError) Unwrap() error { return e.err }

// errUnkillable ends a build whose processes did not die.
var errUnkillable = errors.New("processes of the build cannot be killed")

// judge says how a build with this error ended, why, and what to do. It is the only
// place where that is decided.
func judge(err error) *verdict.BuildError {
	var (
		failed *stageError
		host   *verdict.HostFault
		limit  *limitError
		build  *verdict.BuildError
	)
	switch {
	case err == nil:
		return &verdict.BuildError{Outcome: verdict.OK}
	case errors.Is(err, errUnkillable):
		return &verdict.BuildError{Outcome: verdict.BuilderFail, Err: err, Advice: "Restart the builder: the processes named above are stuck in the kernel."}
	case errors.Is(err, errAborted):
		return &verdict.BuildError{Outcome: verdict.Aborted, Err: errAborted, Advice: "Nothing, if the abort was meant; otherwise start the build again."}
	case errors.As(err, &host):
		return &verdict.BuildError{Outcome: verdict.BuilderFail, Err: err, Advice: host.Advice}
	case errors.As(err, &limit):
		return &verdict.BuildError{Outcome: limited(err), Err: limit, Advice: "Make the build smaller or faster, or let the operator raise the limit."}
	case errors.As(err, &build):
		return build
	case errors.As(err, &failed):
		return &verdict.BuildError{Outcome: failed.failure, Err: err, Advice: advice(failed.failure)}
	}
	return &verdict.BuildError{Outcome: verdict.BuilderFail, Err: err, Advice: advice(verdict.BuilderFail)}
}

// limited is the outcome of a build that exceeded a limit: the package's, once
// it is the package that runs.
func limited(err error) verdict.Outcome {
	var failed *stageError
	if !errors.As(err, &failed) || failed.stage == StageBuild {
		return verdict.PackageFail
	}
	return failed.failure
}

// advice is what to do about an outcome when nobody knows better.
func advice(o verdict.Outcome) string {
	switch o {
	case verdict.ChrootFail:
		return "Look at the base image and the archives: the lines above say which step failed."
	case verdict.PackageFail:
		return "Look at the end of the build's own output above."
	case verdict.BuilderFail:
		return "Look at the builder: the lines above say what it could not do. The build can be tried again elsewhere."
	case verdict.GivenBack:
		return "Start the build again later."
	case verdict.DepFail:
		return "Wait for the dependencies, or correct them."
	case verdict.OK, verdict.Aborted:
	}
	return ""
}
