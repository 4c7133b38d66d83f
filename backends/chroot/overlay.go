package chroot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
)

// overlay is that of a build.
type overlay struct{ cfg Config }

// prepare makes room for the upper layer, in memory if that is wished
// and possible, else on disk, and tries an overlay with it: better to know
// before an image is unpacked for nothing.
func (o overlay) prepare(ctx context.Context) error {
	for _, dir := range []string{o.cfg.layers(), o.cfg.root()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if o.cfg.TmpfsBytes > 0 {
		err := o.prepareTmpfs(ctx)
		if err == nil {
			return nil
		}
		o.cfg.Notice(fmt.Sprintf("Keeping the changes of this build on disk, not in memory: %v", err))
	}
	return o.try(ctx)
}

func (o overlay) prepareTmpfs(ctx context.Context) error {
	free, err := memAvailable()
	if err != nil {
		return err
	}
	if free < o.cfg.TmpfsBytes {
		return fmt.Errorf("%d bytes are wanted and %d available", o.cfg.TmpfsBytes, free)
	}
	options := fmt.Sprintf("size=%d,mode=0700", o.cfg.TmpfsBytes)
	if err := unix.Mount("none", o.cfg.layers(), "tmpfs", 0, options); err != nil {
		return fmt.Errorf("cannot mount a tmpfs: %w", err)
	}
	if err := o.try(ctx); err != nil {
		return errors.Join(err, unix.Unmount(o.cfg.layers(), unix.UMOUNT_NOFOLLOW))
	}
	return nil
}

// try mounts an overlay with nothing below it for a moment. It uses
// folders of its own: a "volatile" upper layer can be mounted only once.
func (o overlay) try(ctx context.Context) error {
	dir := filepath.Join(o.cfg.layers(), "try")
	sub := func(name string) string { return filepath.Join(dir, name) }
	for _, path := range []string{dir, sub("lower"), sub("upper"), sub("work")} {
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
	}
	err := mountLayers(o.cfg.root(), sub("lower"), sub("upper"), sub("work"))
	if err == nil {
		err = unix.Unmount(o.cfg.root(), unix.UMOUNT_NOFOLLOW)
	}
	return errors.Join(err, RemoveTree(context.WithoutCancel(ctx), dir))
}

// mount mounts the overlay of this build on an unpacked image.
func (o overlay) mount(lower string) error {
	upper, work := filepath.Join(o.cfg.layers(), "upper"), filepath.Join(o.cfg.layers(), "work")
	err := errors.Join(os.Mkdir(upper, 0o700), os.Mkdir(work, 0o700), copyOwner(lower, upper))
	if err == nil {
		err = mountLayers(o.cfg.root(), lower, upper, work)
	}
	if err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot make the chroot: %w", err))
	}
	return nil
}

// mountLayers mounts an overlay. The paths go to the kernel as descriptors,
// because it would take commas and colons in them for separators.
func mountLayers(target, lower, upper, work string) error {
	var fds [3]int
	for i, path := range []string{lower, upper, work} {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("cannot open %s: %w", path, err)
		}
		defer func() { _ = unix.Close(fd) }()
		fds[i] = fd
	}
	layers := fmt.Sprintf("lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d,", fds[0], fds[1], fds[2])
	var err error
	for _, options := range overlayOptions() {
		err = unix.Mount("overlay", target, "overlay", 0, layers+options)
		// A layer that something else uses does not get free by other options.
		if err == nil || errors.Is(err, unix.EBUSY) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("cannot mount an overlay on %s: %w", target, err)
	}
	return nil
}

// overlayOptions are how to mount an overlay, what is best first: kernels and
// file systems do not know everything.
//
// With "index" the hard links of the image stay links of one file after a change
// through one of them. A chroot need not survive a power cut: "volatile" (Linux
// 5.10) spares the disk all that dpkg wants synchronised. There is no "xino": its
// inode numbers are too large for programs of 32 bits.
func overlayOptions() []string {
	const always = "redirect_dir=on,metacopy=off,"
	return []string{always + "index=on,volatile", always + "index=on", always + "index=off,volatile", always + "index=off"}
}

// copyOwner gives a folder the owner and permissions of another: those of the
// upper layer are what the chroot's root shows.
func copyOwner(from, to string) error {
	var st unix.Stat_t
	if err := unix.Stat(from, &st); err != nil {
		return err
	}
	return errors.Join(unix.Chown(to, int(st.Uid), int(st.Gid)), unix.Chmod(to, st.Mode&0o7777))
}

// memAvailable is how many bytes of memory can be used without swapping.
func memAvailable() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, "MemAvailable:")
		if !ok {
			continue
		}
		var kib int64
		if _, err := fmt.Sscanf(rest, "%d kB", &kib); err != nil {
			return 0, fmt.Errorf("cannot understand /proc/meminfo: %w", err)
		}
		return kib << 10, nil
	}
	return 0, errors.New("cannot find the available memory in /proc/meminfo")
}
