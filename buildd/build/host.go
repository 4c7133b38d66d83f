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
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/disk"
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
func runners(a account, dir string, stray func(backends.Stray)) (user, root backends.Runner) {
	host := a.runner(dir)
	host.Stray = stray
	return host, backends.Host{Dir: dir, Stray: stray}
}

// place is what a target is made of and for.
type place struct {
	backend  string
	settings job.Settings
	common   builders.Common
	home     *home
	books    *books
	voice    *voice
}

// newTarget makes the target of the build's backend, without touching anything
// yet.
func newTarget(p place) (target, error) {
	switch p.backend {
	case "chroot":
		return newChroot(p)
	case "lxd":
		return newContainer(p)
	}
	return nil, fmt.Errorf("there is no backend %q", p.backend)
}

func newChroot(p place) (target, error) {
	s, folder := p.settings, p.books.dir.State()
	c, err := chroot.New(chroot.Config{
		BuildDir: p.home.path, Series: p.common.Series, Arch: p.common.ABI,
		RootsDir: folder.Roots(), TrashDir: folder.Trash(),
		Overlay: s.Overlay != "never", TmpfsBytes: s.TmpfsBytes, MaxRoots: s.MaxRoots,
		Log:    p.voice.daemon,
		Notice: func(line string) { p.voice.say("%s", line) },
		Stray:  p.voice.stray,
	})
	free := func() (disk.Room, error) {
		space, err := kept.In(folder).Space()
		return space.Free.Minus(space.Reserve(s.Keep.MinFree)), err
	}
	return chrootTarget{Chroot: c, links: p.home.inputs(), free: free}, err
}

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
