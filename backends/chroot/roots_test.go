//go:build integration

package chroot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/chroot"
)

func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	check(t, unix.Mount("none", dir, "tmpfs", 0, options))
	t.Cleanup(func() { check(t, unix.Unmount(dir, 0)) })
}

// kept lists the names of images that are unpacked and complete.
func kept(t *testing.T, p *place) string {
	t.Helper()
	markers, err := filepath.Glob(filepath.Join(escapeGlob(p.roots()), "*.root", "complete"))
	check(t, err)
	var names []string
	for _, m := range markers {
		names = append(names, strings.TrimSuffix(filepath.Base(filepath.Dir(m)), ".root"))
	}
	return strings.Join(names, " ")
}

func escapeGlob(path string) string { return strings.ReplaceAll(path, `\`, `\\`) }

// use makes a chroot from an image and takes it away again.
func use(t *testing.T, p *place, path, sha1 string) {
	t.Helper()
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(path, sha1)))
	takeAway(t, c)
}

func TestImagesAreKeptAndTheLeastRecentlyUsedIsDropped(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	use(t, p, path, "a")
	// Proof that it is not unpacked again: the file may be missing.
	use(t, p, path+".missing", "a")
	use(t, p, path, "b")
	if got := kept(t, p); got != "a b" {
		t.Errorf("kept are %q", got)
	}
	old := time.Now().Add(-time.Hour)
	check(t, os.Chtimes(filepath.Join(p.roots(), "b.lock"), old, old))
	use(t, p, path, "a")
	use(t, p, path, "c")
	if got := kept(t, p); got != "a c" {
		t.Errorf("kept are %q", got)
	}
}

func TestAnImageInUseIsNotDropped(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(path, "a")))
	use(t, p, path, "b")
	use(t, p, path, "c")
	use(t, p, path, "d")
	if got := kept(t, p); !strings.HasPrefix(got, "a ") {
		t.Errorf("kept are %q", got)
	}
	check(t, c.Run(t.Context(), backends.Command{Argv: []string{"true"}}))
	takeAway(t, c)
}

func TestOneImageIsUnpackedOnceForManyBuilds(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	var all []*chroot.Chroot
	for range 4 {
		all = append(all, p.chroot(t, nil))
	}
	var group sync.WaitGroup
	for _, c := range all {
		group.Go(func() {
			err := c.Create(t.Context(), image(path, "a"))
			if err == nil {
				err = c.Run(t.Context(), backends.Command{Argv: []string{"true"}})
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, c := range all {
		takeAway(t, c)
	}
}

func TestWaitingForAnotherBuilderEndsWithTheContext(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	check(t, os.Mkdir(p.roots(), 0o700))
	f, err := os.OpenFile(filepath.Join(p.roots(), "a.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	check(t, err)
	check(t, unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	c := p.chroot(t, nil)
	result := make(chan error, 1)
	go func() { result <- c.Create(ctx, image(path, "a")) }()
	cancel(want)
	if err := <-result; !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	check(t, f.Close())
	takeAway(t, c)
}

func TestATornImageIsNeverUsed(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	use(t, p, path, "a")
	use(t, p, path, "b")
	for _, name := range []string{"a", "b"} {
		check(t, os.Remove(filepath.Join(p.roots(), name+".root", "complete")))
		check(t, os.RemoveAll(filepath.Join(p.roots(), name+".root", "chroot-autobuild", "usr")))
	}
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(path, "a")))
	check(t, c.Run(t.Context(), backends.Command{Argv: []string{"true"}}))
	check(t, chroot.CleanRoots(t.Context(), p.roots()))
	if left, _ := filepath.Glob(filepath.Join(escapeGlob(p.roots()), "b.*")); len(left) != 0 {
		t.Errorf("left is %s", left)
	}
	check(t, c.Run(t.Context(), backends.Command{Argv: []string{"true"}}))
	takeAway(t, c)
	check(t, chroot.CleanRoots(t.Context(), p.roots()))
	if got := kept(t, p); got != "a" {
		t.Errorf("kept are %q", got)
	}
	check(t, chroot.CleanRoots(t.Context(), filepath.Join(p.dir, "none")))
}

func TestImageNamesAreNoPaths(t *testing.T) {
	p, path := newPlace(t), backendtest.MiniImage(t)
	for _, name := range []string{"", "../a", "/a", "a/b", "a\x00b"} {
		c := p.chroot(t, nil)
		if err := c.Create(t.Context(), image(path, name)); err == nil {
			t.Errorf("%q was taken", name)
		}
		takeAway(t, c)
	}
}
