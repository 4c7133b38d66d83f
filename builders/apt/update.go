package apt

import (
	"context"
	"fmt"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

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
