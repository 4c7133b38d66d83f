package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
)

// The folders beside that of the build, in the state folder of the file cache.
func rootsDir(dir string) string      { return filepath.Join(filepath.Dir(dir), "roots") }
func trashDir(dir string) string      { return filepath.Join(filepath.Dir(dir), "trash") }
func keptStore(dir string) kept.Store { return kept.In(filepath.Dir(dir)) }
func cacheDir(dir string) string      { return filepath.Dir(filepath.Dir(dir)) }

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
	if err := checkOwner(caller(), dir, filepath.Dir(dir)); err != nil {
		return "", err
	}
	return dir, checkOwner(roots(), trashDir(dir), rootsDir(dir), keptStore(dir).Dir())
}

// roots is the owner of what nobody but this program has made, see checkOwner.
func roots() string {
	if caller() == "" {
		return ""
	}
	return "0"
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
	return checkOwner(uid, s.Home, s.FileCache)
}

// checkOwner checks that what exists of these paths is no link and belongs to
// a user; to anyone, if uid is "".
func checkOwner(uid string, paths ...string) error {
	if uid == "" {
		return nil
	}
	for _, path := range paths {
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("cannot look at %s: %w", path, err)
		case st.Mode&unix.S_IFMT == unix.S_IFLNK:
			return fmt.Errorf("%s is a symbolic link", path)
		case fmt.Sprint(st.Uid) != uid:
			return fmt.Errorf("%s belongs to uid %d, not to uid %s", path, st.Uid, uid)
		}
	}
	return nil
}
