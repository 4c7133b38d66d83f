package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
	"lpbuildd/builders"
)

// prepProgram is what stage INIT runs in the reference. An operator or a test
// may put a program of their own there (spec: lifecycle.md section 2).
func prepProgram(s job.Settings) string { return filepath.Join(s.SharePath, "bin", "builder-prep") }

// toolchain are the packages whose versions a log begins with.
func toolchain() []string {
	return []string{"lpbuildd", "sbuild", "schroot", "bzr-builder", "git-build-recipe", "git", "dpkg-dev", "debootstrap"}
}

// reportHost says what the build runs on, and sets the clock.
func reportHost(ctx context.Context, env builders.Env, v *voice, s job.Settings) error {
	log := env.Log
	own := prepProgram(s)
	if info, err := os.Stat(own); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return env.Host.Run(ctx, backends.Command{Argv: []string{own}, Dir: s.Home, Stdout: log, Stderr: log})
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	text := func(field [65]byte) string { return string(bytes.TrimRight(field[:], "\x00")) }
	fmt.Fprintf(log, "Kernel version: %s %s %s %s %s\n",
		text(uts.Sysname), text(uts.Nodename), text(uts.Release), text(uts.Version), text(uts.Machine))
	var out bytes.Buffer
	query := append([]string{"dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}_${Version}\n"}, toolchain()...)
	var exit *backends.ExitError
	// It fails when one of the packages is not installed, which is fine.
	if err := env.Host.Run(ctx, backends.Command{Argv: query, Stdout: &out}); err != nil && !errors.As(err, &exit) {
		return err
	}
	fmt.Fprint(log, "Buildd toolchain package versions:")
	for line := range strings.Lines(out.String()) {
		if installed, ok := strings.CutPrefix(line, "ii  "); ok {
			fmt.Fprint(log, " ", strings.TrimSpace(installed))
		}
	}
	fmt.Fprintln(log, ".")
	return syncClock(ctx, env, v, s.Site.NTPHost)
}

// syncClock asks the configured time server. A clock that cannot be set is
// worth a line, not a build (weaknesses.md G2).
func syncClock(ctx context.Context, env builders.Env, v *voice, server string) error {
	if server == "" {
		return nil
	}
	v.say("Syncing the system clock with the buildd NTP service...")
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := env.Root.Run(limited, backends.Command{Argv: []string{"ntpdate", "-u", server}, Stdout: env.Log, Stderr: env.Log}); err != nil {
		v.say("Cannot set the clock, going on: %v", err)
	}
	return context.Cause(ctx)
}
