package build

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
)

// outcomeOf is the outcome of a build that ended with this error.
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
