package state

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// Root is the user that owns the roots, the trash and what is kept.
const Root = "0"

// CheckRootsThings refuses a folder in which the things of root's are somebody
// else's, who could have put anything there: a user, by the id, or anyone's if uid
// is "".
func (f Folder) CheckRootsThings(uid string) error {
	return CheckOwner(uid, f.Trash(), f.Roots(), f.Kept())
}

// CheckOwner checks that what exists of these paths is no link and belongs to
// a user; to anyone, if uid is "".
func CheckOwner(uid string, paths ...string) error {
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
		case strconv.FormatUint(uint64(st.Uid), 10) != uid:
			return fmt.Errorf("%s belongs to uid %d, not to uid %s", path, st.Uid, uid)
		}
	}
	return nil
}
