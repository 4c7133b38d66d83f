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

// say writes one line to the build log. The log keeps its own error.
func (e Env) say(format string, a ...any) {
	_, _ = fmt.Fprintf(e.Log, format+"\n", a...)
}

// inTarget runs a command in the target, its output going to the log.
func (e Env) inTarget(ctx context.Context, argv ...string) error {
	return e.Target.Run(ctx, backends.Command{Argv: argv, Stdout: e.Log, Stderr: e.Log})
}

// onHost runs a command on the host as the build user and returns what it
// printed; its errors go to the log.
func (e Env) onHost(ctx context.Context, argv ...string) (string, error) {
	out, err := backends.Output(ctx, e.Host, backends.Command{Argv: argv, Stderr: e.Log})
	return string(out), err
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

// secretsIn calls HasSecrets, before the paths are made.
func (e Env) secretsIn(paths ...string) {
	if e.HasSecrets != nil {
		e.HasSecrets(paths...)
	}
}
