// Package caller checks on whose behalf root works: root runs it, outside the
// namespaces of a build and inside, as soon as the daemon's user has started it by
// sudo. It looks at who owns folders, and touches nothing.
package caller

import (
	"errors"
	"fmt"
	"os"
	"os/user"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// UID is the id of the unprivileged user who asked for this process through sudo,
// "" when nobody did.
func UID() string { return os.Getenv("SUDO_UID") }

// Root is the owner of what nobody but this program has made, see state.CheckOwner.
func Root() string {
	if UID() == "" {
		return ""
	}
	return state.Root
}

// WorkingFolder is the folder of the build, in which this process was started.
// It refuses one that a caller could not have made, and things of root's beside it
// that are not root's.
func WorkingFolder() (state.Build, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	folder := state.Build(dir)
	if err := state.CheckOwner(UID(), dir, folder.State().Path()); err != nil {
		return "", err
	}
	return folder, folder.State().CheckRootsThings(Root())
}

// CheckSettings refuses to work in folders, or as a user, that are not the
// caller's.
func CheckSettings(s job.Settings) error {
	uid := UID()
	if uid == "" {
		return nil
	}
	if u, err := user.Lookup(s.User); err != nil || u.Uid != uid {
		return errors.Join(fmt.Errorf("builder.user: expected the user with the uid %s, who asks for the build, got %q", uid, s.User), err)
	}
	return state.CheckOwner(uid, s.Home, s.FileCache)
}
