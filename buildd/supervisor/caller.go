package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
)

// The folders beside that of the build, in the state folder of the file cache.
func rootsDir(dir string) string      { return state.Build(dir).State().Roots() }
func trashDir(dir string) string      { return state.Build(dir).State().Trash() }
func keptStore(dir string) kept.Store { return kept.In(state.Build(dir).State()) }
func cacheDir(dir string) string      { return state.Build(dir).State().Cache() }

// caller is the id of the unprivileged user who asked for this process through
// sudo, "" when nobody did.
func caller() string { return os.Getenv("SUDO_UID") }

// workingFolder is the folder of the build, in which this process was started.
// It refuses one that a caller could not have made, and things of root's beside it
// that are not root's.
func workingFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if err := state.CheckOwner(caller(), dir, filepath.Dir(dir)); err != nil {
		return "", err
	}
	return dir, state.Build(dir).State().CheckRootsThings(roots())
}

// roots is the owner of what nobody but this program has made, see state.CheckOwner.
func roots() string {
	if caller() == "" {
		return ""
	}
	return state.Root
}

// checkSettings refuses to work in folders, or as a user, that are not the
// caller's.
func checkSettings(s job.Settings) error {
	uid := caller()
	if uid == "" {
		return nil
	}
	if u, err := user.Lookup(s.User); err != nil || u.Uid != uid {
		return errors.Join(fmt.Errorf("builder.user: expected the user with the uid %s, who asks for the build, got %q", uid, s.User), err)
	}
	return state.CheckOwner(uid, s.Home, s.FileCache)
}
