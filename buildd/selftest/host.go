package selftest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/disk"
)

// buildUser checks who sbuild runs as.
func (t *tester) buildUser(context.Context) Finding {
	name := t.Settings.User
	u, err := user.Lookup(name)
	if err != nil {
		return failed(err.Error(), fmt.Sprintf("Make it: adduser --system --group %s; or name another one in builder.user.", name))
	}
	group, err := user.LookupGroup("sbuild")
	if err != nil {
		return failed(err.Error(), "Install the package sbuild, which makes the group.")
	}
	groups, err := u.GroupIds()
	if err != nil {
		return failed(err.Error(), "Look at /etc/group and nsswitch.conf.")
	}
	if !slices.Contains(groups, group.Gid) {
		return failed(fmt.Sprintf("%s is not in the group sbuild", name), fmt.Sprintf("Add it, and restart the daemon: adduser %s sbuild", name))
	}
	if t.Owner.Uid == "0" {
		return warning("the file cache belongs to root, so the daemon is taken to run as root",
			fmt.Sprintf("Run it as %s, and give it the cache: chown -R %[1]s: %s", name, t.Settings.FileCache))
	}
	return ok("%s, uid %s, in the group sbuild; the daemon runs as %s", name, u.Uid, t.Owner.Username)
}

// homeFolder checks where build directories are made.
func (t *tester) homeFolder(context.Context) Finding {
	home := t.Settings.Home
	var st unix.Stat_t
	if err := unix.Lstat(home, &st); err != nil {
		return failed(fmt.Sprintf("%s: %v", home, err), fmt.Sprintf("Make it: install -d -o %s %s; or say with --home where the daemon's HOME is.", t.Owner.Username, home))
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return failed(home+" is no folder", "The daemon's HOME has to be a folder; links are refused.")
	case fmt.Sprint(st.Uid) != t.Owner.Uid:
		return failed(fmt.Sprintf("%s belongs to the uid %d", home, st.Uid), fmt.Sprintf("Give it to the daemon's user: chown %s %s", t.Owner.Username, home))
	}
	return ok("%s belongs to %s", home, t.Owner.Username)
}

// helpers checks that the daemon's user can have root do what it needs.
func (t *tester) helpers(ctx context.Context) Finding {
	switch {
	case t.Owner.Uid == "0":
		return ok("not needed, as the daemon runs as root")
	case t.Helper != "":
		return t.helperSocket()
	}
	return t.sudoRule(ctx)
}

// helperSocket checks that the daemon's user may connect to the helper service.
func (t *tester) helperSocket() Finding {
	var st unix.Stat_t
	if err := unix.Stat(t.Helper, &st); err != nil {
		return failed(fmt.Sprintf("%s: %v", t.Helper, err), "Start the socket: systemctl start lpbuildd-helper.socket")
	}
	if fmt.Sprint(st.Uid) != t.Owner.Uid {
		return failed(fmt.Sprintf("%s belongs to the uid %d", t.Helper, st.Uid),
			fmt.Sprintf("Say in lpbuildd-helper.socket that it is for %s (SocketUser=), and restart it.", t.Owner.Username))
	}
	return ok("%s may ask at %s", t.Owner.Username, t.Helper)
}

// sudoRule asks sudo, as the daemon's user, for each of the helpers.
func (t *tester) sudoRule(ctx context.Context) Finding {
	rule := fmt.Sprintf("%s ALL=(root) NOPASSWD: %s", t.Owner.Username, t.Program+" "+strings.Join(t.Verbs, ", "+t.Program+" "))
	advice := "Write this into a file in /etc/sudoers.d: " + rule
	for _, verb := range t.Verbs {
		said, err := t.said(ctx, t.owner, "sudo", "-n", "-l", t.Program, verb)
		if err != nil {
			return failure(fmt.Errorf("%s may not run '%s %s' as root: %w%s", t.Owner.Username, t.Program, verb, err, said), advice)
		}
	}
	return ok("%s may run %s as root", t.Owner.Username, strings.Join(t.Verbs, ", "))
}

// said runs a command and returns what it said, as the end of a message.
func (t *tester) said(ctx context.Context, host backends.Runner, argv ...string) (string, error) {
	var out bytes.Buffer
	err := host.Run(ctx, backends.Command{Argv: argv, Env: []string{"LC_ALL=C.UTF-8"}, Stdout: &out, Stderr: &out})
	text := strings.TrimSpace(out.String())
	if text != "" {
		text = ": " + strings.ReplaceAll(text, "\n", "; ")
	}
	return text, err
}

// sbuild checks that the programs for chroot builds are there and run.
func (t *tester) sbuild(ctx context.Context) Finding {
	versions := []string{}
	for _, program := range []string{"sbuild", "schroot", "setarch", "dpkg-deb"} {
		text, err := t.said(ctx, t.owner, program, "--version")
		if err != nil {
			return failure(fmt.Errorf("%w%s", err, text), "Install the packages sbuild, schroot, util-linux and dpkg.")
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(text, ": "), ";")
		if program == "sbuild" || program == "schroot" {
			versions = append(versions, first)
		}
	}
	const chroots = "/etc/schroot/chroot.d"
	if info, err := os.Stat(chroots); err != nil || !info.IsDir() {
		return failed(chroots+" is no folder", "Install the package schroot again.")
	}
	return ok("%s", strings.Join(versions, "; "))
}

// shippedFiles checks the files that come with the daemon.
func (t *tester) shippedFiles(context.Context) Finding {
	own := filepath.Join(t.Settings.Home, ".sbuildrc")
	if _, err := os.Stat(own); err == nil {
		return ok("sbuild is configured by %s", own)
	}
	shipped := filepath.Join(t.Settings.SharePath, "sbuildrc")
	if _, err := os.Stat(shipped); err != nil {
		return failed(err.Error(), "Install the shipped files (README, Install and configure), or correct builder.sharepath.")
	}
	return ok("sbuild is configured by %s", shipped)
}

// What a builder should have free: below the first a build will hardly end well,
// below the second a large one will not.
const (
	leastFree   = 2 << 30
	amplyFree   = 8 << 30
	leastInodes = 100_000
)

// disk checks the space for the cache and for builds.
func (t *tester) disk(context.Context) Finding {
	worst := ok("")
	details := []string{}
	for _, place := range []struct {
		what, path string
		reserve    int64
	}{{"cache", t.Settings.FileCache, t.MinFree}, {"home", t.Settings.Home, 0}} {
		space, err := disk.Of(place.path)
		if err != nil {
			return failed(err.Error(), "Check the disk.")
		}
		left := space.Free.Minus(space.Reserve(place.reserve))
		free := left.Bytes
		details = append(details, fmt.Sprintf("%s: %.1f GiB free on %s", place.what, float64(free)/(1<<30), place.path))
		advice := fmt.Sprintf("Free space on the disk of %s, or enlarge it; 'lpbuildd gc' removes what is not needed.", place.path)
		scarce := left.Inodes < leastInodes
		switch {
		case free < leastFree || scarce:
			worst = failed("", advice)
		case free < amplyFree && worst.Result == OK:
			worst = warning("", advice)
		}
		if scarce {
			details = append(details, fmt.Sprintf("only %d files more on %s", left.Inodes, place.path))
		}
	}
	worst.Detail = strings.Join(details, "; ")
	return worst
}
