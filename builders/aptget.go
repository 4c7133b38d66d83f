package builders

import (
	"context"
	"errors"
	"fmt"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// aptCommand is apt-get as the parts of a build call it.
func aptCommand(args ...string) backends.Command {
	return backends.Command{
		Argv: append([]string{"apt-get"}, args...),
		Env:  []string{"DEBIAN_FRONTEND=noninteractive"},
	}
}

// aptGet runs apt-get for a build. If an archive is in trouble, apt-get is tried
// once more, with fresh package lists; then the build is given back.
func aptGet(ctx context.Context, env Env, args ...string) error {
	return giveBack(fetchTwice(ctx, env, aptCommand(args...)))
}

// fetchTwice is runApt with a second attempt, after an update of the package lists,
// for trouble of an archive.
func fetchTwice(ctx context.Context, env Env, cmd backends.Command) error {
	err := runApt(ctx, env, cmd)
	var trouble *archiveError
	if !errors.As(err, &trouble) || !worthRetrying(ctx, err) {
		return err
	}
	if err := freshLists(ctx, env, trouble); err != nil {
		return err
	}
	return runApt(ctx, env, cmd)
}

// freshLists reads the package lists again, because of trouble.
func freshLists(ctx context.Context, env Env, trouble *archiveError) error {
	env.say("%v\nReading the package lists anew and trying again ...", trouble)
	err := updateLists(ctx, env)
	var exit *backends.ExitError
	var another *archiveError
	if errors.As(err, &exit) && !errors.As(err, &another) {
		return fmt.Errorf("%w (%w)", trouble, err)
	}
	return err
}

// runApt runs apt-get in the target, its output going to the log. Trouble of an
// archive is an *archiveError, also where apt-get only warns of it; trouble of
// this machine is a *verdict.HostFault.
func runApt(ctx context.Context, env Env, cmd backends.Command) error {
	out := newWatch(env.Log)
	cmd.Stdout, cmd.Stderr = out, out
	err := env.Target.Run(ctx, cmd)
	var exit *backends.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return err
	case out.fault != nil:
		return out.fault
	case out.trouble == nil:
		return err
	case err != nil:
		return fmt.Errorf("%w (%w)", out.trouble, err)
	}
	return out.trouble
}

// giveBack makes trouble of an archive a verdict: it is nobody's fault who builds
// something, and over when the archive is repaired.
func giveBack(err error) error {
	var trouble *archiveError
	if !errors.As(err, &trouble) {
		return err
	}
	return &verdict.BuildError{
		Outcome: verdict.GivenBack,
		Err:     fmt.Errorf("what the build needs cannot be fetched: %w", trouble),
		Advice:  "Nothing to do if the archive works again: the build is to be tried again. Otherwise tell those who run that server.",
	}
}
