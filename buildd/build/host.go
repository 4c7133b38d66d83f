package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/verdict"
)

// account is the unprivileged user that sbuild runs as.
type account struct {
	name     string
	home     string
	uid, gid uint32
	groups   []uint32
}

// lookup finds a user; home is what HOME is for it during a build.
func lookup(name, home string) (account, error) {
	fault := func(err error) (account, error) {
		return account{}, &verdict.HostFault{
			Err:    fmt.Errorf("cannot use the build user %q: %w", name, err),
			Advice: "Make the user and add it to the group sbuild, or name another one in builder.user.",
		}
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fault(err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		return fault(err)
	}
	a := account{name: name, home: home}
	ids := make([]uint32, 0, len(groups)+2)
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return fault(err)
		}
		ids = append(ids, uint32(id))
	}
	a.uid, a.gid, a.groups = ids[0], ids[1], ids[2:]
	return a, nil
}

// runner runs commands on the host as this user.
func (a account) runner(dir string) backends.Host {
	return backends.Host{Dir: dir, Home: a.home, User: a.name, UID: a.uid, GID: a.gid, Groups: a.groups}
}

// owner returns to whom a path belongs.
func owner(path string) (uid, gid int, err error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, 0, fmt.Errorf("cannot look at %s: %w", path, err)
	}
	return int(st.Uid), int(st.Gid), nil
}

// runners run commands on the host: as the build user in the build directory,
// and as root.
func runners(b *build) (user, root backends.Runner) {
	host := b.account.runner(b.home)
	host.Stray = b.stray
	return host, backends.Host{Dir: b.home, Stray: b.stray}
}

// newTarget makes the target of the build's backend, without touching anything
// yet.
func newTarget(b *build) (target, error) {
	s := b.request.Settings
	switch b.typ.Backend {
	case "chroot":
	case "lxd":
		return newContainer(b)
	default:
		return nil, fmt.Errorf("there is no backend %q", b.typ.Backend)
	}
	c, err := chroot.New(chroot.Config{
		BuildDir: b.home, Series: b.common.Series, Arch: b.common.ABI,
		RootsDir: b.dir.State().Roots(), TrashDir: b.dir.State().Trash(),
		Overlay: s.Overlay != "never", TmpfsBytes: s.TmpfsBytes, KeepRoots: s.KeepRoots,
		Log:    b.daemon,
		Notice: func(line string) { b.say("%s", line) },
		Stray:  b.stray,
	})
	return chrootTarget{c}, err
}

// prepProgram is what stage INIT runs in the reference. An operator or a test
// may put a program of their own there (spec: lifecycle.md section 2).
func (b *build) prepProgram() string {
	return filepath.Join(b.request.Settings.SharePath, "bin", "builder-prep")
}

// toolchain are the packages whose versions a log begins with.
func toolchain() []string {
	return []string{"lpbuildd", "sbuild", "schroot", "bzr-builder", "git-build-recipe", "git", "dpkg-dev", "debootstrap"}
}

// reportHost says what the build runs on, and sets the clock.
func (b *build) reportHost(ctx context.Context) error {
	host := b.env.Host
	own := b.prepProgram()
	if info, err := os.Stat(own); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
		return host.Run(ctx, backends.Command{Argv: []string{own}, Dir: b.request.Settings.Home, Stdout: b.log, Stderr: b.log})
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	text := func(field [65]byte) string { return string(bytes.TrimRight(field[:], "\x00")) }
	fmt.Fprintf(b.log, "Kernel version: %s %s %s %s %s\n",
		text(uts.Sysname), text(uts.Nodename), text(uts.Release), text(uts.Version), text(uts.Machine))
	var out bytes.Buffer
	query := append([]string{"dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}_${Version}\n"}, toolchain()...)
	var exit *backends.ExitError
	// It fails when one of the packages is not installed, which is fine.
	if err := host.Run(ctx, backends.Command{Argv: query, Stdout: &out}); err != nil && !errors.As(err, &exit) {
		return err
	}
	fmt.Fprint(b.log, "Buildd toolchain package versions:")
	for line := range strings.Lines(out.String()) {
		if installed, ok := strings.CutPrefix(line, "ii  "); ok {
			fmt.Fprint(b.log, " ", strings.TrimSpace(installed))
		}
	}
	fmt.Fprintln(b.log, ".")
	return b.syncClock(ctx)
}

// syncClock asks the configured time server. A clock that cannot be set is
// worth a line, not a build (weaknesses.md G2).
func (b *build) syncClock(ctx context.Context) error {
	server := b.request.Settings.Site.NTPHost
	if server == "" {
		return nil
	}
	b.say("Syncing the system clock with the buildd NTP service...")
	limited, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := b.env.Root.Run(limited, backends.Command{Argv: []string{"ntpdate", "-u", server}, Stdout: b.log, Stderr: b.log}); err != nil {
		b.say("Cannot set the clock, going on: %v", err)
	}
	return context.Cause(ctx)
}
