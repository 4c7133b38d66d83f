package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/rpc/client"
)

// exitFailure is the exit code for everything that is no outcome of a build.
const exitFailure = 1

// outcomeError is the end of a build that was not successful. It has been
// printed already.
type outcomeError struct {
	outcome verdict.Outcome
	code    int
}

// Error names the outcome.
func (e *outcomeError) Error() string { return "the build ended with " + string(e.outcome) }

// exitCodeOf is the exit code of an outcome; the help of the root command has
// the same table.
func exitCodeOf(outcome verdict.Outcome) int {
	codes := map[verdict.Outcome]int{
		verdict.OK: 0, verdict.PackageFail: 2, verdict.DepFail: 3, verdict.GivenBack: 4, verdict.ChrootFail: 5, verdict.BuilderFail: 6, verdict.Aborted: 7,
	}
	if code, ok := codes[outcome]; ok {
		return code
	}
	return exitFailure
}

// meaningOf is an outcome in words.
func meaningOf(st buildd.Status) string {
	switch st.Outcome {
	case verdict.OK:
		return "the build was successful"
	case verdict.PackageFail:
		return "the package failed to build; the end of the log says why"
	case verdict.DepFail:
		return "build dependencies are missing: " + printable(st.Dependencies)
	case verdict.GivenBack:
		return "the builder could not build it now; try again"
	case verdict.ChrootFail:
		return "the base image, or the archives it was given, do not work; the end of the log says why"
	case verdict.BuilderFail:
		return "the builder failed, not the package; look at its log"
	case verdict.Aborted:
		return "the build was aborted"
	}
	return "the builder reported an outcome that lpbuild does not know"
}

// asError is nil for a successful build.
func asError(outcome verdict.Outcome) error {
	if outcome == verdict.OK {
		return nil
	}
	return &outcomeError{outcome: outcome, code: exitCodeOf(outcome)}
}

// explain puts an error into words that say what to do next.
func explain(err error, builder string) string {
	if fault := (*client.Fault)(nil); errors.As(err, &fault) {
		reason := fault.Reason
		if reason == "" {
			reason = fault.String
		}
		return "the builder refused: " + printable(reason)
	}
	if errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	if u := (*url.Error)(nil); !errors.As(err, &u) {
		return err.Error()
	}
	shown := builder
	if u, bad := url.Parse(builder); bad == nil {
		shown = u.Redacted()
	}
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("cannot reach the builder at %s: connection refused; is lpbuildd running?\n"+
			"Start it with 'lpbuildd serve', or name another builder with --url or LPBUILD_URL.", shown)
	case errors.As(err, &dns):
		return fmt.Sprintf("cannot reach the builder at %s: no address for %q\nCheck --url or LPBUILD_URL.", shown, dns.Name)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("cannot reach the builder at %s: no answer in time\nIs there a firewall between?", shown)
	}
	return fmt.Sprintf("cannot talk to the builder at %s: %v\nCheck --url or LPBUILD_URL.", shown, err)
}
