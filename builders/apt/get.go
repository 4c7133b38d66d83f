// Package apt is run by the worker of a build, root inside the build's namespaces, and
// touches the target through builders.Env: it works with apt there, in the stages
// SOURCES, KEYS and UPDATE, and as apt-get for whatever a build installs. See spec:
// lifecycle.md sections 7 and 8.
//
// Whose trouble it is when apt fails is decided here, for all types: by what apt says
// about archives (ArchiveError) and about this machine (verdict.HostFault).
package apt

import (
	"context"
	"errors"
	"fmt"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// command is apt-get as the parts of a build call it.
func command(args ...string) backends.Command {
	return backends.Command{
		Argv: append([]string{"apt-get"}, args...),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"},
	}
}

// Get runs apt-get for a build. If an archive is in trouble, apt-get is tried
// once more, with fresh package lists; then the build is given back.
func Get(ctx context.Context, env builders.Env, args ...string) error {
	return GiveBack(fetchTwice(ctx, env, command(args...)))
}

// GiveBack makes trouble of an archive a verdict: it is nobody's fault who builds
// something, and over when the archive is repaired.
func GiveBack(err error) error {
	var trouble *ArchiveError
	if !errors.As(err, &trouble) {
		return err
	}
	return &verdict.BuildError{
		Outcome: verdict.GivenBack,
		Err:     fmt.Errorf("what the build needs cannot be fetched: %w", trouble),
		Advice:  "Nothing to do if the archive works again: the build is to be tried again. Otherwise tell those who run that server.",
	}
}
