package chroot

import (
	"context"
	"errors"
	"slices"

	"lpbuildd/backends"
)

// Run implements backends.Runner. A program that is missing in the chroot is
// exit code 127, as in a shell.
func (c *Chroot) Run(ctx context.Context, cmd backends.Command) error {
	if len(cmd.Argv) == 0 {
		return errors.New("cannot run an empty command")
	}
	if c.personalityErr != nil {
		return c.personalityErr
	}
	host := c.host
	if c.cfg.Stray != nil {
		host.Stray = func(s backends.Stray) { c.cfg.Stray(backends.Stray{Argv: cmd.Argv, Inner: s.Inner, Held: s.Held}) }
	}
	err := host.Run(ctx, backends.Command{
		Argv:  slices.Concat([]string{"/usr/sbin/chroot", c.Root()}, inside(cmd, c.personality)),
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
	})
	var exit *backends.ExitError
	if errors.As(err, &exit) {
		return &backends.ExitError{Argv: cmd.Argv, Code: exit.Code}
	}
	return err
}

// inside is the argument vector that runs inside the chroot, built inside-out
// (spec: backends.md section 3).
func inside(cmd backends.Command, personality []string) []string {
	argv := cmd.Argv
	if len(cmd.Env) > 0 {
		argv = slices.Concat([]string{"env"}, cmd.Env, argv)
	}
	argv = slices.Concat(personality, argv)
	if cmd.Dir != "" {
		argv = []string{"/bin/sh", "-c", "cd " + backends.Quote(cmd.Dir) + " && " + backends.Quote(argv...)}
	}
	return argv
}
