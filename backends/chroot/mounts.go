package chroot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// mountPoint is a file system that every chroot has.
type mountPoint struct{ path, fstype, options string }

// mountPoints are mounted in this order (spec: backends.md section 3).
// ptmxmode makes /dev/pts/ptmx usable for images in which /dev/ptmx is a link
// to it.
func mountPoints() []mountPoint {
	return []mountPoint{
		{"/proc", "proc", ""},
		{"/dev/pts", "devpts", "gid=5,mode=620,ptmxmode=666"},
		{"/sys", "sysfs", ""},
		{"/dev/shm", "tmpfs", ""},
	}
}

func (m mountPoint) mount(root string) error {
	dir, err := openInRoot(root, m.path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("cannot mount %s in the chroot: the image has no usable folder %s: %w", m.fstype, m.path, err)
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Mount("none", through(dir), m.fstype, 0, m.options); err != nil {
		return &verdict.HostFault{
			Err:    fmt.Errorf("cannot mount %s on %s in the chroot: %w", m.fstype, m.path, err),
			Advice: "Check that the kernel has this file system and that the builder may mount.",
		}
	}
	return nil
}

const (
	// unmountRounds and unmountPause bound how long busy mounts are tried
	// again: pauses double, 1.3 seconds in all.
	unmountRounds = 8
	unmountPause  = 5 * time.Millisecond
)

// unmount unmounts everything below dir, deepest first, and detaches what
// stays busy.
func unmount(ctx context.Context, cfg Config, dir string) error {
	pause := unmountPause
	for range unmountRounds {
		left, err := unmountOnce(cfg, dir, 0)
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause *= 2
	}
	left, err := unmountOnce(cfg, dir, 0)
	if err != nil || len(left) == 0 {
		return err
	}
	cfg.Log.Warn("Detaching busy mounts", "mounts", left)
	cfg.Notice("Detaching busy mounts: " + strings.Join(left, ", "))
	if left, err = unmountOnce(cfg, dir, unix.MNT_DETACH); err != nil || len(left) == 0 {
		return err
	}
	return fmt.Errorf("still mounted: %s", strings.Join(left, ", "))
}

// unmountOnce tries each mount once and returns those that are left.
func unmountOnce(cfg Config, dir string, flags int) ([]string, error) {
	paths, err := mountsBelow(dir)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	for _, path := range paths {
		how := flags | unix.UMOUNT_NOFOLLOW
		if path == cfg.layers() {
			// The kernel lets go of the layers of an overlay a while after the
			// overlay is gone; nothing else uses them.
			how |= unix.MNT_DETACH
		}
		// What fails is in the list that the caller gets.
		_ = unix.Unmount(path, how)
	}
	return mountsBelow(dir)
}

// mountsBelow lists the mount points below dir, not dir itself, in an order in
// which they can be unmounted.
func mountsBelow(dir string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("cannot list mounts: %w", err)
	}
	// Later mounts may lie on top of earlier ones, so they come first.
	slices.Reverse(infos)
	slices.SortStableFunc(infos, func(a, b *mountinfo.Info) int {
		return strings.Count(b.Mountpoint, "/") - strings.Count(a.Mountpoint, "/")
	})
	var paths []string
	for _, info := range infos {
		if info.Mountpoint != dir {
			paths = append(paths, info.Mountpoint)
		}
	}
	return paths, nil
}
