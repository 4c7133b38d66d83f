package builders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// phase is one part of the build in a container, announced in the log.
type phase struct {
	name string
	run  func(ctx context.Context, env Env) error
}

// installPhase is the name of the phase whose failure is an installation's.
const installPhase = "install"

// runPhases runs phases up to the first that fails. Failures are the package's
// unless somebody knows better (spec: builders.md section 1).
func runPhases(ctx context.Context, env Env, phases ...phase) error {
	for _, p := range phases {
		env.say("Running %s phase...", p.name)
		err := p.run(ctx, env)
		if err == nil {
			continue
		}
		failed, advice := "Build failed", "See the output of the command that failed, above."
		if p.name == installPhase {
			failed = "Install failed"
			advice = "See the output above: what the build needs could not be installed from its archives and stores."
		}
		err = blame(ctx, verdict.PackageFail, fmt.Errorf("the %s phase failed: %w", p.name, err), advice)
		if ctx.Err() == nil {
			env.say("%s\n%v", failed, err)
		}
		return err
	}
	return nil
}

// announceOperation writes the lines by which people know the build of a type.
// Credentials are no part of them (weakness D4).
func (e Env) announceOperation(operation string, args ...string) {
	e.announceIn("lxd", operation, args...)
}

// announceIn is announceOperation for any backend.
func (e Env) announceIn(backend, operation string, args ...string) {
	program := filepath.Join(e.SharePath, "bin", "in-target")
	e.AnnounceRun(slices.Concat([]string{program, operation}, e.Common.Options(backend), []string{e.Job.BuildID}, args)...)
}

// buildCommand runs a command of the build in a folder of the target (spec:
// builders.md, introduction). Its error does not repeat the arguments: they may
// hold credentials.
func (e Env) buildCommand(ctx context.Context, dir string, environment []string, argv ...string) error {
	return withoutArguments(e.Target.Run(ctx, backends.Command{
		Argv:   argv,
		Dir:    dir,
		Env:    slices.Concat(buildEnvironment(), environment),
		Stdout: e.Log,
		Stderr: e.Log,
	}))
}

func buildEnvironment() []string { return []string{"LANG=C.UTF-8", "SHELL=/bin/sh"} }

// withoutArguments shortens the command line in an exit error to its program
// and subcommand.
func withoutArguments(err error) error {
	var exit *backends.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	short := exit.Argv[:1:1]
	if len(exit.Argv) > 1 && !strings.HasPrefix(exit.Argv[1], "-") {
		short = exit.Argv[:2:2]
	}
	return &backends.ExitError{Argv: short, Code: exit.Code}
}

// installPackages installs packages in the target.
func installPackages(ctx context.Context, env Env, names ...string) error {
	return env.aptGet(ctx, append([]string{"-y", "install"}, names...)...)
}

// availablePackages returns those of the packages that apt in the target knows
// and that are not purely virtual, in one call.
func availablePackages(ctx context.Context, env Env, names ...string) ([]string, error) {
	out, err := backends.Output(ctx, env.Target, backends.Command{Argv: append([]string{"apt-cache", "show"}, names...)})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) { // it may fail because one is missing
		return nil, err
	}
	known := strings.Split(string(out), "\n")
	var available []string
	for _, name := range names {
		if slices.Contains(known, "Package: "+name) {
			available = append(available, name)
		}
	}
	return available, nil
}

// products lists the regular files directly in a folder of the target whose
// names end in one of the suffixes, sorted. Folders, links and special files
// are no products (weakness O7). The folder itself may be a link: "/." is where
// it leads.
func products(ctx context.Context, env Env, dir string, suffixes ...string) ([]string, error) {
	out, err := backends.Output(ctx, env.Target, backends.Command{
		Argv: []string{"find", dir + "/.", "-mindepth", "1", "-maxdepth", "1", "-type", "f", "-printf", `%P\0`},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", dir, err)
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// gatherProduct hands over one file of the target under its own name.
func gatherProduct(ctx context.Context, env Env, dir, name string, add func(name string, content io.ReadCloser) error) error {
	if err := checkFileName(name); err != nil {
		return fmt.Errorf("cannot gather %q: %w", name, err)
	}
	content, err := env.Target.CopyOut(ctx, dir+"/"+name)
	if err == nil {
		err = add(name, content)
	}
	if err != nil {
		return fmt.Errorf("cannot gather %s: %w", name, err)
	}
	return nil
}

// resolveInside checks that paths, which may not exist in their last
// component, are in a folder of the target after all symbolic links on the way
// are resolved there (spec: backends.md section 11, weakness O1).
func resolveInside(ctx context.Context, env Env, root string, paths ...string) error {
	out, err := backends.Output(ctx, env.Target, backends.Command{
		Argv:   append([]string{"readlink", "-f", "--", root}, paths...),
		Stderr: env.Log,
	})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	outside := func(path string) bool { return path != lines[0] && !strings.HasPrefix(path, lines[0]+"/") }
	if err != nil || len(lines) != len(paths)+1 || slices.ContainsFunc(lines, outside) {
		return errors.New("Invalid build file path.") // the text that people know
	}
	return nil
}

// joinPath joins paths of the target as they are; an absolute one replaces
// what is before it.
func joinPath(dir, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return strings.TrimSuffix(dir, "/") + "/" + path
}
