package build

import (
	"context"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/kept"
	"lpbuildd/disk"
)

// chrootTarget is a chroot that can be kept.
type chrootTarget struct {
	*chroot.Chroot
	// links are in the build directory, and lead to the cache, which does not keep
	// what they lead to.
	links map[string]string
	// free is how much room there is on the disk for what is kept.
	free func() (disk.Room, error)
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

func (c chrootTarget) keep(ctx context.Context, path string, secrets []string, r *kept.Record) (err error) {
	free, err := c.free()
	if err != nil {
		return err
	}
	for _, link := range c.links {
		if err := disk.Remove(link); err != nil {
			return err
		}
	}
	r.Base, err = c.Keep(ctx, kept.Target(path), secrets, free)
	return err
}

// release has nothing to say: what was moved is not there any more.
func (c chrootTarget) release() error { return nil }
