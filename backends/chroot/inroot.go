package chroot

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// openRetries bounds how often an open is tried again that raced with a
// rename in the chroot.
const openRetries = 32

// openInRoot opens a path inside root, which no symbolic link in it can lead
// out of. Errors do not name the root.
func openInRoot(root, path string, flags int) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the chroot %s: %w", root, err)
	}
	defer func() { _ = unix.Close(dir) }()
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	for range openRetries {
		var fd int
		fd, err = unix.Openat2(dir, path, &how)
		if err == nil {
			return os.NewFile(uintptr(fd), path), nil
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return nil, err
}

// through is a path of an open file that needs no further resolving.
func through(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }
