package apt

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// run runs apt-get in the target, its output going to the log. Trouble of an
// archive is an *ArchiveError, also where apt-get only warns of it; trouble of
// this machine is a *verdict.HostFault.
func run(ctx context.Context, env builders.Env, cmd backends.Command) error {
	out := NewWatch(env.Log)
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

// fetchTwice is run with a second attempt, after an update of the package lists,
// for trouble of an archive.
func fetchTwice(ctx context.Context, env builders.Env, cmd backends.Command) error {
	err := run(ctx, env, cmd)
	var trouble *ArchiveError
	if !errors.As(err, &trouble) || !worthRetrying(ctx, err) {
		return err
	}
	if err := FreshLists(ctx, env, trouble); err != nil {
		return err
	}
	return run(ctx, env, cmd)
}

// FreshLists reads the package lists again, because of trouble.
func FreshLists(ctx context.Context, env builders.Env, trouble *ArchiveError) error {
	env.Say("%v\nReading the package lists anew and trying again ...", trouble)
	err := updateLists(ctx, env)
	var exit *backends.ExitError
	var another *ArchiveError
	if errors.As(err, &exit) && !errors.As(err, &another) {
		return fmt.Errorf("%w (%w)", trouble, err)
	}
	return err
}

// updateRetryDelay is how long a failed apt-get update waits for its second
// attempt (spec: lifecycle.md section 8).
const updateRetryDelay = 15 * time.Second

// updateLists reads the package lists. What apt takes for temporary is an error,
// too, after a second attempt: a build with the lists that happen to be there is
// not the one that was asked for.
func updateLists(ctx context.Context, env builders.Env) error {
	err := run(ctx, env, updateCommand("-uy", "update"))
	if err != nil && worthRetrying(ctx, err) {
		env.Say("Waiting %d seconds and trying again ...", updateRetryDelay/time.Second)
		if err := wait(ctx, updateRetryDelay); err != nil {
			return err
		}
		err = run(ctx, env, updateCommand("-uy", "update"))
	}
	if err != nil {
		return fmt.Errorf("cannot update the package lists: %w", err)
	}
	return nil
}

// worthRetrying is false when the build has ended or the host is broken.
func worthRetrying(ctx context.Context, err error) bool {
	var fault *verdict.HostFault
	return ctx.Err() == nil && !errors.As(err, &fault)
}

// updateCommand is apt-get as the stage UPDATE calls it.
func updateCommand(args ...string) backends.Command {
	return backends.Command{
		Argv: append([]string{"/usr/bin/apt-get"}, args...),
		Env:  []string{"LANG=C", "DEBIAN_FRONTEND=noninteractive", "TTY=unknown"},
	}
}

// wait ends early, with the cause, when ctx does.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
