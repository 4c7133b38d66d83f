package build

import (
	"fmt"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
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
func runners(a account, dir string, stray func(backends.Stray)) (user, root backends.Runner) {
	host := a.runner(dir)
	host.Stray = stray
	return host, backends.Host{Dir: dir, Stray: stray}
}
