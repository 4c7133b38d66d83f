package selftest

import (
	"errors"
	"fmt"
	"os/user"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
	"lpbuildd/filecache"
)

// Result is what a check found.
type Result string

// All results.
const (
	OK      Result = "ok"
	Warning Result = "warning" // builds are possible, but not all or not well
	Failed  Result = "failed"
	Skipped Result = "skipped" // could not, or need not, be looked at
)

// Finding is what there is to say about one thing.
type Finding struct {
	Name   string `json:"name"`
	Result Result `json:"result"`
	Detail string `json:"detail"`
	// Advice says what to do, "" where there is nothing to do.
	Advice string `json:"advice,omitempty"`
	// Log is the end of the log of a build that failed.
	Log string `json:"log,omitempty"`
}

// Builder is the builder to be tested.
type Builder struct {
	// Program is the path of the daemon's program; Config are the flags that give
	// it the configuration of this builder.
	Program string
	Config  []string
	// Verbs are the subcommands that its user has root do: through the socket
	// Helper, or through sudo where that is "".
	Verbs  []string
	Helper string
	// HelperVariable is the variable of the environment that tells a daemon of the
	// socket.
	HelperVariable string
	// Settings are what its supervisors get; Home is the daemon's HOME.
	Settings job.Settings
	Arch     string
	// MinFree is how many bytes its downloads leave free.
	MinFree int64
	// Owner is who the daemon runs as.
	Owner *user.User
	Cache *filecache.Cache
	// Launcher starts helpers, as whoever runs the test.
	Launcher buildd.Launcher
	// URL is where its daemon listens.
	URL string
	// Image is the path of the base image for the build, "" without one.
	Image string
	// UseDaemon has the build go through the daemon at URL.
	UseDaemon bool
	// Root says that whoever runs the test may do everything.
	Root bool
}

// tester is one run of the test.
type tester struct {
	Builder
	// owner and root run commands on this machine.
	owner backends.Host
	now   func() time.Time
}

func ok(format string, args ...any) Finding {
	return Finding{Result: OK, Detail: fmt.Sprintf(format, args...)}
}

func skipped(detail, advice string) Finding {
	return Finding{Result: Skipped, Detail: detail, Advice: advice}
}

func warning(detail, advice string) Finding {
	return Finding{Result: Warning, Detail: detail, Advice: advice}
}

func failed(detail, advice string) Finding {
	return Finding{Result: Failed, Detail: detail, Advice: advice}
}

// failure is a failed check, with the advice of the error if it has some.
func failure(err error, advice string) Finding {
	if fault := (*verdict.HostFault)(nil); errors.As(err, &fault) && fault.Advice != "" {
		advice = fault.Advice
	}
	return failed(err.Error(), advice)
}
