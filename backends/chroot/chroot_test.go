//go:build integration

package chroot_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/verdict"
)

// place is a machine's folders for chroots.
type place struct {
	dir string
	mu  sync.Mutex // guards the fields below
	n   int
	say []string
}

// newPlace has a name that is hard on mount options.
func newPlace(tb testing.TB) *place {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "a place, with:odd\\ characters")
	check(tb, os.Mkdir(dir, 0o750))
	p := &place{dir: dir}
	tb.Cleanup(func() {
		check(tb, chroot.EmptyTrash(context.WithoutCancel(tb.Context()), p.trash()))
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
		if check(tb, err); len(mounts) != 0 {
			tb.Errorf("left mounted: %s", mounts[0].Mountpoint)
		}
	})
	return p
}

func (p *place) trash() string { return filepath.Join(p.dir, "trash") }
func (p *place) roots() string { return filepath.Join(p.dir, "roots") }

func (p *place) notices() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.say, "\n")
}

// chroot is a new chroot with a build directory.
func (p *place) chroot(tb testing.TB, change func(*chroot.Config)) *chroot.Chroot {
	tb.Helper()
	p.n++
	cfg := chroot.Config{
		BuildDir: filepath.Join(p.dir, fmt.Sprintf("build-%d", p.n)), Series: "noble", Arch: "amd64",
		RootsDir: p.roots(), TrashDir: p.trash(), Overlay: true, MaxRoots: 2,
		Notice: func(line string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.say = append(p.say, line)
		},
	}
	if change != nil {
		change(&cfg)
	}
	check(tb, os.Mkdir(cfg.BuildDir, 0o750))
	c, err := chroot.New(cfg)
	check(tb, err)
	return c
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func image(path, sha1 string) backends.Image {
	return backends.Image{Path: path, SHA1: sha1, Type: "chroot"}
}

func modes() map[string]func(*chroot.Config) {
	return map[string]func(*chroot.Config){
		"overlay on disk": nil,
		"overlay on tmpfs": func(cfg *chroot.Config) {
			cfg.TmpfsBytes = 512 << 20
		},
		"plain": func(cfg *chroot.Config) { cfg.Overlay = false },
	}
}

func TestBehaviour(t *testing.T) {
	path := backendtest.MiniImage(t)
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			backendtest.Run(t, func(t *testing.T) (backends.Lifecycle, backends.Image) {
				t.Helper()
				return p.chroot(t, change), image(path, "1234")
			})
			if got := p.notices(); got != "" {
				t.Errorf("unexpected notices: %s", got)
			}
			entries, err := filepath.Glob(filepath.Join(p.dir, "build-*"))
			if check(t, err); len(entries) != 0 {
				t.Errorf("left are %s", entries)
			}
		})
	}
}

// takeAway ends the use of a chroot.
func takeAway(tb testing.TB, c *chroot.Chroot) {
	tb.Helper()
	check(tb, errors.Join(c.KillProcesses(tb.Context()), c.Stop(tb.Context()), c.Remove(tb.Context())))
}

func TestCommandsSeeTheMountsAndFilesOfAHost(t *testing.T) {
	path := backendtest.MiniImage(t, backendtest.Entry{Name: "etc/resolv.conf", Link: "/run/nowhere"})
	p := newPlace(t)
	c := p.chroot(t, func(cfg *chroot.Config) { cfg.Arch, cfg.Series = "i386", "precise" })
	check(t, c.Create(t.Context(), image(path, "1")))
	check(t, c.Start(t.Context()))
	defer takeAway(t, c)
	out, err := backends.Output(t.Context(), c, backends.Command{Argv: []string{
		"sh", "-c", "cut -d' ' -f2,3 /proc/mounts; stat -f -c %T /dev/pts; uname -mr; cat /etc/hosts",
	}})
	check(t, err)
	hosts, err := os.ReadFile("/etc/hosts")
	check(t, err)
	for _, want := range []string{"/proc proc\n", "/dev/pts devpts\n", "/sys sysfs\n", "/dev/shm tmpfs\n", " i686\n", "2.6.", string(hosts)} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestImagesThatAreNone(t *testing.T) {
	empty := backendtest.MiniImage(t)
	check(t, os.WriteFile(empty, []byte("this is not an archive"), 0o600))
	for mode, change := range modes() {
		p := newPlace(t)
		c := p.chroot(t, change)
		err := c.Create(t.Context(), image(empty, "bad"))
		var fault *verdict.HostFault
		if err == nil || !strings.Contains(err.Error(), "not an archive") || errors.As(err, &fault) {
			t.Errorf("%s: got %v", mode, err)
		}
		takeAway(t, c)
		if left, _ := filepath.Glob(filepath.Join(p.roots(), "*.root")); len(left) != 0 {
			t.Errorf("%s: left is %s", mode, left)
		}
	}
}

func TestAMissingMountPointIsAnErrorAndNotMade(t *testing.T) {
	path := backendtest.MiniImage(t)
	p := newPlace(t)
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(path, "1")))
	check(t, os.Remove(filepath.Join(c.Root(), "dev", "shm")))
	if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "/dev/shm") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(filepath.Join(c.Root(), "dev", "shm")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was made: %v", err)
	}
	takeAway(t, c)
}

func TestMountPointsCannotLeadOut(t *testing.T) {
	path := backendtest.MiniImage(t)
	p := newPlace(t)
	outside := t.TempDir()
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(path, "1")))
	check(t, os.Remove(filepath.Join(c.Root(), "sys")))
	check(t, os.Symlink(outside, filepath.Join(c.Root(), "sys")))
	if err := c.Start(t.Context()); err == nil {
		t.Error("a mount point outside was used")
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(outside))
	if check(t, err); len(mounts) != 0 {
		t.Errorf("mounted outside: %v", mounts)
	}
	takeAway(t, c)
}

func TestBusyMountsAreDetachedWithANotice(t *testing.T) {
	p := newPlace(t)
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(backendtest.MiniImage(t), "1")))
	check(t, c.Start(t.Context()))
	f, err := os.Create(filepath.Join(c.Root(), "dev", "shm", "busy"))
	check(t, err)
	defer func() { _ = f.Close() }()
	takeAway(t, c)
	if got := p.notices(); !strings.HasPrefix(got, "Detaching busy mounts: ") || !strings.HasSuffix(got, "/dev/shm") {
		t.Errorf("got notice %q", got)
	}
}

func TestTooSmallMemoryFallsBackToDisk(t *testing.T) {
	p := newPlace(t)
	c := p.chroot(t, func(cfg *chroot.Config) { cfg.TmpfsBytes = 1 << 60 })
	check(t, c.Create(t.Context(), image(backendtest.MiniImage(t), "1")))
	if got := p.notices(); !strings.HasPrefix(got, "Keeping the changes of this build on disk") {
		t.Errorf("got notice %q", got)
	}
	takeAway(t, c)
}

func TestAnImpossibleOverlayFallsBackToUnpacking(t *testing.T) {
	p := newPlace(t)
	outer := p.chroot(t, nil)
	path := backendtest.MiniImage(t)
	check(t, outer.Create(t.Context(), image(path, "1")))
	inner := p.chroot(t, func(cfg *chroot.Config) {
		// An upper layer on an overlay is what kernels refuse.
		cfg.BuildDir = filepath.Join(outer.Root(), "build", "x")
	})
	check(t, inner.Create(t.Context(), image(path, "1")))
	check(t, inner.Start(t.Context()))
	check(t, inner.Run(t.Context(), backends.Command{Argv: []string{"true"}}))
	if got := p.notices(); !strings.HasPrefix(got, "Unpacking the base image for this build alone") {
		t.Errorf("got notice %q", got)
	}
	takeAway(t, inner)
	takeAway(t, outer)
}

func TestAFullDiskIsTheHostsFault(t *testing.T) {
	p := newPlace(t)
	c := p.chroot(t, func(cfg *chroot.Config) { cfg.Overlay = false })
	mountTmpfs(t, filepath.Join(p.dir, "build-1"), "size=1m")
	err := c.Create(t.Context(), image(backendtest.MiniImage(t), "1"))
	var fault *verdict.HostFault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("got %v", err)
	}
}

func TestProcessesOfOtherRootsLive(t *testing.T) {
	p := newPlace(t)
	c := p.chroot(t, nil)
	check(t, c.Create(t.Context(), image(backendtest.MiniImage(t), "1")))
	defer takeAway(t, c)
	other := c.Root() + "-other"
	check(t, os.Mkdir(other, 0o750))
	check(t, unix.Mount(c.Root(), other, "", unix.MS_BIND, ""))
	in, feed, err := os.Pipe()
	check(t, err)
	said, out, err := os.Pipe()
	check(t, err)
	result := make(chan error, 1)
	go func() {
		result <- backends.Host{}.Run(t.Context(), backends.Command{
			Argv: []string{"/usr/sbin/chroot", other, "sh", "-c", "echo started; read x"}, Stdin: in, Stdout: out,
		})
	}()
	_, err = said.Read(make([]byte, 10))
	check(t, err)
	check(t, c.KillProcesses(t.Context()))
	_, err = feed.WriteString("go on\n")
	check(t, errors.Join(err, <-result, feed.Close(), in.Close(), out.Close(), said.Close()))
}
