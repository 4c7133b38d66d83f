//go:build integration

package chroot_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/chroot"
	"lpbuildd/disk"
)

// used is a chroot in which something was done.
func (p *place) used(t *testing.T, change func(*chroot.Config), path, sha1 string) *chroot.Chroot {
	t.Helper()
	c := p.chroot(t, change)
	check(t, c.Create(t.Context(), image(path, sha1)))
	check(t, c.Start(t.Context()))
	check(t, c.Run(t.Context(), backends.Command{Argv: []string{
		"sh", "-c", "echo made >/made; rm /etc/gone; mkdir -p /secret/deep; echo x >/secret/deep/file; ln -s /etc /link",
	}}))
	check(t, c.KillProcesses(t.Context()))
	return c
}

// kept is the chroot that was kept in a folder.
func (p *place) kept(t *testing.T, dir string) *chroot.Chroot {
	t.Helper()
	c, err := chroot.New(chroot.Config{BuildDir: chroot.KeptBuildDir(dir), RootsDir: p.roots()})
	check(t, err)
	return c
}

func TestKeepAndResume(t *testing.T) {
	path := backendtest.MiniImage(t, backendtest.Entry{Name: "etc/gone", Data: "x"}, backendtest.Entry{Name: "etc/secret", Data: "x"})
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			dir := t.TempDir()
			c := p.used(t, change, path, "1234")
			base, err := c.Keep(t.Context(), dir, []string{"/secret", "/link/secret", "/nothing/at/all", "/etc/hosts/no"}, disk.Room{Bytes: 1 << 30, Inodes: 1000})
			check(t, err)
			// As at the end of a build.
			check(t, errors.Join(c.Stop(t.Context()), c.Remove(t.Context())))
			for range 2 {
				again := p.kept(t, dir)
				check(t, again.Resume(t.Context(), base))
				out, err := backends.Output(t.Context(), again, backends.Command{Argv: []string{
					"sh", "-c", "cat /made; ls -d /etc/gone /etc/secret /secret 2>/dev/null; cut -d' ' -f2 /proc/mounts; echo more >>/made",
				}})
				if !strings.HasPrefix(string(out), "made\n") || strings.Contains(string(out), "/etc/") || strings.Contains(string(out), "/secret") ||
					!strings.Contains(string(out), "/dev/pts\n") {
					t.Errorf("inside is %s, %v", out, err)
				}
				terminal, err := again.OpenTerminal()
				check(t, err)
				check(t, errors.Join(terminal.Close(), again.KillProcesses(t.Context()), again.Stop(t.Context())))
				_, err = again.Keep(t.Context(), dir+".none", nil, disk.Room{})
				if err == nil {
					t.Error("it was kept in a folder that there is not")
				}
			}
			last := p.kept(t, dir)
			check(t, last.Remove(t.Context()))
		})
	}
}

// TestAKeptChrootHoldsItsImage for as long as its folder is there.
func TestAKeptChrootHoldsItsImage(t *testing.T) {
	path := backendtest.MiniImage(t, backendtest.Entry{Name: "etc/gone", Data: "x"})
	p := newPlace(t)
	none := func(cfg *chroot.Config) { cfg.MaxRoots = 0 }
	dir := t.TempDir()
	base, err := p.used(t, none, path, "held").Keep(t.Context(), dir, nil, disk.Room{})
	check(t, err)
	other := func() bool {
		takeAway(t, p.used(t, none, path, "other"))
		_, err := os.Lstat(filepath.Join(p.roots(), "held.root", "complete"))
		return err == nil
	}
	if base != "held" || !other() {
		t.Errorf("the image %q is gone", base)
	}
	check(t, os.RemoveAll(dir))
	if other() {
		t.Error("the image is still there")
	}
	if err := p.kept(t, t.TempDir()).Resume(t.Context(), "held"); err == nil || !strings.Contains(err.Error(), "gone") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsTooLargeToBeCopiedIsNotKept(t *testing.T) {
	path := backendtest.MiniImage(t, backendtest.Entry{Name: "etc/gone", Data: "x"})
	p := newPlace(t)
	c := p.used(t, func(cfg *chroot.Config) { cfg.TmpfsBytes = 64 << 20 }, path, "1")
	if _, err := c.Keep(t.Context(), t.TempDir(), nil, disk.Room{Bytes: 1, Inodes: 1000}); err == nil || !strings.Contains(err.Error(), "room for 0 MiB") {
		t.Errorf("got %v", err)
	}
	check(t, errors.Join(c.Stop(t.Context()), c.Remove(t.Context())))
	if left, err := filepath.Glob(filepath.Join(p.dir, "build-*")); err != nil || len(left) > 0 {
		t.Errorf("left is %v, %v", left, err)
	}
}
