package build

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

// outcomeOf turns the error of a build into its outcome. It is the only place
// where that is decided.
func (b *build) outcomeOf(err error) job.Outcome {
	v := judge(err)
	o := job.Outcome{BuildID: b.request.BuildID, Status: v.Outcome, Dependencies: v.Dependencies, LeftForReset: b.leftForReset}
	b.books.fill(&o)
	var failed *stageError
	if errors.As(err, &failed) {
		o.Stage = string(failed.stage)
	}
	if err != nil {
		o.Cause = firstLine(b.voice.redact(v.Error()))
	}
	return o
}

// judge says how a build with this error ended, why, and what to do.
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

// summary ends the log: how it went, where, why, and what to do.
func (b *build) summary(o job.Outcome, err error) string {
	var text strings.Builder
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&text, "  %-11s %s\n", key+":", strings.ReplaceAll(value, "\n", "\n              "))
		}
	}
	text.WriteString("\nBuild summary\n")
	line("Build", fmt.Sprintf("%s (%s)", b.request.BuildID, b.request.Tag))
	line("Result", string(o.Status))
	if err != nil {
		v := judge(err)
		line("Stage", o.Stage)
		line("Cause", strings.TrimSpace(v.Error()))
		line("Wait for", o.Dependencies)
		line("What to do", v.Advice)
	}
	line("Left over", b.voice.leftBehind())
	if r := b.keeping.record; r != nil {
		line("Kept", fmt.Sprintf("until %s; to look into it, on the builder: lpbuildd enter %s",
			r.Expires.Format(time.RFC3339), backends.Quote(r.BuildID)))
	}
	line("Time", b.progress.times())
	return text.String()
}

// firstLine is the first line of a text that is not blank.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
