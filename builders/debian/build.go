package debian

import (
	"context"
	"path/filepath"
	"strings"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// Build prepares host and target, runs sbuild, and judges how it ended.
func (b *binaryPackage) Build(ctx context.Context, env builders.Env) error {
	if err := checkVariant(ctx, env); err != nil {
		return err
	}
	if err := registerChroot(ctx, env); err != nil {
		return builders.Blame(ctx, verdict.BuilderFail, err, "Repair the builder: schroot must be installed and its configuration writable.")
	}
	if err := builders.WriteText(ctx, env, "/CurrentlyBuilding", b.currentlyBuilding()); err != nil {
		return builders.Blame(ctx, verdict.ChrootFail, err, "Check the base image.")
	}
	args := b.sbuildArgs(env)
	b.announce(env, args)
	settings, err := checkSbuildrc(ctx, env)
	if err != nil {
		return builders.Blame(ctx, verdict.BuilderFail, err, "Repair sbuild's configuration on the builder.")
	}
	env.Say("Initiating build %s with %d jobs across %d processor cores.", env.Job.BuildID, jobs(env), jobs(env))
	if err := shareSbuildUser(ctx, env); err != nil {
		return err
	}
	return b.runSbuild(ctx, env, args, append(b.buildOptions(env), settings...))
}

// announce writes the line by which people know this stage.
func (b *binaryPackage) announce(env builders.Env, args []string) {
	stage := []string{filepath.Join(env.SharePath, "bin", "sbuild-package"), env.Job.BuildID, env.Common.ABI, b.suite}
	env.AnnounceRun(append(stage, args...)...)
}

func (b *binaryPackage) sbuildArgs(env builders.Env) []string {
	args := []string{
		"-c", "chroot:" + chrootName(env.Job.BuildID),
		"--arch=" + env.Common.ABI, "--dist=" + b.suite, "--nolog",
	}
	args = append(args, variantArgs(env.Common)...)
	if b.archIndep {
		args = append(args, "-A")
	}
	if strings.HasPrefix(b.dsc, "-") {
		return append(args, "./"+b.dsc) // or sbuild takes it for an option
	}
	return append(args, b.dsc)
}
