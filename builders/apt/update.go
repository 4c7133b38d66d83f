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

// updateRetryDelay is how long a failed apt-get update waits for its second
// attempt (spec: lifecycle.md section 8).
const updateRetryDelay = 15 * time.Second

// Update brings the target's packages up to date, the stage UPDATE (spec:
// lifecycle.md section 8). It waits 15 seconds between two attempts to read
// the package lists; tests use testing/synctest.
func Update(ctx context.Context, env builders.Env) error {
	env.Say("Updating target for build %s", env.Job.BuildID)
	return builders.Blame(ctx, verdict.ChrootFail, update(ctx, env),
		"See apt's messages above: an archive cannot be reached or trusted, or the base image cannot be upgraded.")
}

func update(ctx context.Context, env builders.Env) error {
	if err := updateLists(ctx, env); err != nil {
		return err
	}
	args := []string{"-o", "DPkg::Options::=--force-confold", "-uy", "--purge", "dist-upgrade"}
	if err := fetchTwice(ctx, env, updateCommand(args...)); err != nil {
		return fmt.Errorf("cannot upgrade the target: %w", err)
	}
	return nil
}

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
