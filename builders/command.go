package builders

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"lpbuildd/backends"
)

// Say writes one line to the build log, which keeps its own error.
func (e Env) Say(format string, a ...any) {
	_, _ = fmt.Fprintf(e.Log, format+"\n", a...)
}

// InTarget runs a command in the target, its output going to the log. The error of a
// command that fails is a *backends.ExitError, and repeats its arguments.
func (e Env) InTarget(ctx context.Context, argv ...string) error {
	return e.Target.Run(ctx, backends.Command{Argv: argv, Stdout: e.Log, Stderr: e.Log})
}

// OnHost runs a command on the host as the build user and returns what it
// printed; its errors go to the log.
func (e Env) OnHost(ctx context.Context, argv ...string) (string, error) {
	out, err := backends.Output(ctx, e.Host, backends.Command{Argv: argv, Stderr: e.Log})
	return string(out), err
}

// AnnounceOperation writes the lines by which people know the build of a type.
// Credentials are no part of them (weakness D4).
func (e Env) AnnounceOperation(operation string, args ...string) {
	e.AnnounceIn("lxd", operation, args...)
}

// AnnounceIn is AnnounceOperation for any backend, by the name that the log gives it.
func (e Env) AnnounceIn(backend, operation string, args ...string) {
	program := filepath.Join(e.SharePath, "bin", "in-target")
	e.AnnounceRun(slices.Concat([]string{program, operation}, e.Common.Options(backend), []string{e.Job.BuildID}, args)...)
}

// BuildCommand runs a command of the build in a folder of the target (spec:
// builders.md, introduction). Its error does not repeat the arguments: they may
// hold credentials.
func (e Env) BuildCommand(ctx context.Context, dir string, environment []string, argv ...string) error {
	return WithoutArguments(e.Target.Run(ctx, backends.Command{
		Argv:   argv,
		Dir:    dir,
		Env:    slices.Concat(BuildEnvironment(), environment),
		Stdout: e.Log,
		Stderr: e.Log,
	}))
}

// BuildEnvironment is what every command of a build has in its environment.
func BuildEnvironment() []string { return []string{"LANG=C.UTF-8", "SHELL=/bin/sh"} }

// WithoutArguments shortens the command line in an exit error to its program and
// subcommand, because arguments may hold credentials. It returns other errors as they
// are.
func WithoutArguments(err error) error {
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

// SecretsIn calls HasSecrets, if there is one. It comes before the paths are made.
func (e Env) SecretsIn(paths ...string) {
	if e.HasSecrets != nil {
		e.HasSecrets(paths...)
	}
}
