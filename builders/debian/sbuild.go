package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/apt"
	"lpbuildd/builders/debian/pointercheck"
)

// oldKernelSeries are series whose programs choke on a kernel version of 3 or
// more (spec: builders.md section 2.3 item 6).
var oldKernelSeries = []string{"hardy", "lucid", "maverick", "natty", "oneiric", "precise"}

// oldPointerSeries are series in which implicitly converted pointers are
// nothing but warnings (spec: builders.md section 2.3 item 9).
var oldPointerSeries = []string{"warty", "hoary", "breezy", "dapper", "edgy", "feisty", "gutsy", "hardy", "karmic"}

// checkSbuildrc checks the syntax of the build user's sbuild configuration and
// returns the environment that makes sbuild use it. Without one of the user's
// own, it is the shipped one.
func checkSbuildrc(ctx context.Context, env builders.Env) ([]string, error) {
	path := filepath.Join(env.Job.Home, ".sbuildrc")
	environment := []string{"HOME=" + env.Job.Home}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		path = filepath.Join(env.SharePath, "sbuildrc")
		environment = append(environment, "SBUILD_CONFIG="+path)
	}
	var complaints strings.Builder
	err := env.Host.Run(ctx, backends.Command{
		Argv:   []string{"perl", "-c", path},
		Stdout: &complaints,
		Stderr: &complaints,
	})
	if err != nil {
		env.Say("%s%s is corrupt; builder needs repair work", complaints.String(), path)
		return nil, fmt.Errorf("cannot use %s: %w", path, err)
	}
	return environment, nil
}

// runSbuild runs sbuild with the implicit pointer check on its output, and
// judges its exit code.
func (b *binaryPackage) runSbuild(ctx context.Context, env builders.Env, args, environment []string) error {
	prefix, err := b.personality(ctx, env)
	if err != nil {
		return builders.Blame(ctx, verdict.BuilderFail, err, "The builder cannot run programs of this architecture.")
	}
	kernel, err := env.OnHost(ctx, append(slices.Clone(prefix), "uname", "-rvm")...)
	if err != nil {
		return builders.Blame(ctx, verdict.BuilderFail, fmt.Errorf("cannot find out the kernel: %w", err), "Check setarch on the builder.")
	}
	env.Say("Kernel reported to sbuild: %s", strings.TrimRight(kernel, "\n"))

	run := backends.Command{Argv: slices.Concat(prefix, []string{"sbuild"}, args), Dir: env.Job.Dir, Env: environment}
	warnOnly := slices.Contains(prefix, "linux32") || hasSeries(b.suite, oldPointerSeries)
	trouble, err := b.sbuild(ctx, env, run, warnOnly)
	if trouble == nil {
		return err
	}
	// Nothing was installed: sbuild can begin anew.
	if err := apt.FreshLists(ctx, env, trouble); err != nil {
		return apt.GiveBack(err)
	}
	trouble, err = b.sbuild(ctx, env, run, warnOnly)
	if trouble != nil {
		return apt.GiveBack(trouble)
	}
	return err
}

// sbuild runs sbuild once. Trouble is why sbuild could not fetch the build
// dependencies, if that is the reason of its failure.
func (b *binaryPackage) sbuild(ctx context.Context, env builders.Env, run backends.Command, warnOnly bool) (trouble *apt.ArchiveError, err error) {
	watch := apt.NewWatch(env.Log)
	out := pointercheck.NewWriter(watch)
	run.Stdout, run.Stderr = out, out
	err = env.Host.Run(ctx, run)
	pointers, writeErr := out.Finish(warnOnly)
	var exit *backends.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err == nil && writeErr != nil:
		return nil, fmt.Errorf("cannot write the build log: %w", writeErr)
	case errors.As(err, &exit) && exit.Code == sbuildGivenBack && watch.Trouble() != nil:
		return watch.Trouble(), nil
	case errors.As(err, &exit) && exit.Code == sbuildGivenBack && watch.Fault() != nil:
		return nil, builders.Blame(ctx, verdict.BuilderFail, watch.Fault(), "")
	}
	return nil, b.judge(ctx, env, err, pointers)
}

// personality is the prefix under which sbuild believes to run on a machine of
// the target's word size and, for old suites, on an old kernel.
func (b *binaryPackage) personality(ctx context.Context, env builders.Env) ([]string, error) {
	prefix, err := backends.Personality(env.Common.ABI, "")
	if err != nil || len(prefix) == 0 || !hasSeries(b.suite, oldKernelSeries) {
		return prefix, err
	}
	help, err := env.OnHost(ctx, "setarch", "--help")
	if err != nil {
		return nil, fmt.Errorf("cannot ask setarch for its options: %w", err)
	}
	if strings.Contains(help, "uname-2.6") {
		prefix = append(slices.Clone(prefix), "--uname-2.6")
	}
	return prefix, nil
}

// Exit codes of sbuild (spec: builders.md section 2.5); larger ones are
// trouble of the builder.
const (
	sbuildFailed    = 1
	sbuildGivenBack = 3
	signalled       = 128 // plus the number of the signal
	lastSignal      = 64
)

// judge turns the end of sbuild into a verdict; pointers says that the pointer
// check wants the build to fail.
func (b *binaryPackage) judge(ctx context.Context, env builders.Env, err error, pointers bool) error {
	code := 0
	var exit *backends.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.Code
	case err != nil:
		return builders.Blame(ctx, verdict.BuilderFail, fmt.Errorf("cannot run sbuild: %w", err), "Install sbuild on the builder.")
	}
	switch {
	case code > sbuildGivenBack:
		return builderTrouble(code)
	case pointers:
		return &verdict.BuildError{
			Outcome: verdict.PackageFail,
			Err:     errors.New("the compiler converts integers to pointers implicitly"),
			Advice:  "Declare the functions that the messages above name; such code crashes on 64-bit machines.",
		}
	case code == sbuildGivenBack:
		return b.givenBack(ctx, env)
	case code != 0:
		advice := "See the first error in the package's own output, and sbuild's summary above."
		if code == sbuildFailed {
			advice = "See sbuild's lines that begin with \"E:\", above. A source of nothing but architecture-independent packages needs arch_indep."
		}
		return &verdict.BuildError{
			Outcome: verdict.PackageFail,
			Err:     fmt.Errorf("sbuild reports that the package failed to build (exit code %d)", code),
			Advice:  advice,
		}
	}
	return nil
}

func builderTrouble(code int) error {
	err := fmt.Errorf("sbuild ended with exit code %d", code)
	if code > signalled && code <= signalled+lastSignal {
		err = fmt.Errorf("sbuild was killed by signal %d", code-signalled)
	}
	return &verdict.BuildError{
		Outcome: verdict.BuilderFail,
		Err:     err,
		Advice:  "Look for the reason on the builder: memory, sbuild, schroot and their configuration.",
	}
}
