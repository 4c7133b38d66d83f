//go:build integration

package chroot_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/chroot"
	"lpbuildd/disk"
)

// roomy is a disk on which all fits.
var roomy = disk.Room{Bytes: 1 << 30, Inodes: disk.Uncounted}

// linkedImage has one file under three names, and a folder of the image that can
// be renamed.
func linkedImage(t *testing.T) string {
	t.Helper()
	return backendtest.MiniImage(t,
		backendtest.Entry{Name: "usr/bin/perl", Data: "perl\n"},
		backendtest.Entry{Name: "usr/bin/perl5.36.0", Hard: "usr/bin/perl"},
		backendtest.Entry{Name: "usr/share", Dir: true},
		backendtest.Entry{Name: "usr/share/doc", Dir: true},
		backendtest.Entry{Name: "usr/share/doc/perl", Hard: "usr/bin/perl"},
		backendtest.Entry{Name: "etc/shells", Data: "sh\n"},
	)
}

// says runs a script and compares what it prints.
func says(t *testing.T, c *chroot.Chroot, script, want string) {
	t.Helper()
	out, err := backends.Output(t.Context(), c, backends.Command{Argv: []string{"sh", "-c", "exec 2>&1; cd /usr; " + script}})
	if err != nil || string(out) != want {
		t.Errorf("%s: got %q, %v, want %q", script, out, err, want)
	}
}

// linked says that the names are one file, with this content and so many names.
const linked = "for f in bin/perl5.36.0 share/doc/perl; do [ bin/perl -ef $f ] || echo $f is another file; cat $f; done; stat -c %h bin/perl; "

func TestHardLinksOfTheImageStayOneFile(t *testing.T) {
	path := linkedImage(t)
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			c, other := p.chroot(t, change), p.chroot(t, change)
			for _, c := range []*chroot.Chroot{c, other} {
				check(t, errors.Join(c.Create(t.Context(), image(path, "linked")), c.Start(t.Context())))
				defer takeAway(t, c)
			}
			says(t, c, linked, "perl\nperl\n3\n")
			says(t, c, "echo one >>bin/perl; "+linked, "perl\none\nperl\none\n3\n")
			says(t, c, "echo two >share/doc/perl; cat bin/perl; "+linked, "two\ntwo\ntwo\n3\n")
			says(t, c, "chmod 4711 bin/perl5.36.0; stat -c %a bin/perl share/doc/perl", "4711\n4711\n")
			says(t, c, "ln bin/perl5.36.0 bin/third; mv share/doc share/moved; echo three >bin/third; cat share/moved/perl bin/perl; stat -c %h bin/perl", "three\nthree\n4\n")
			says(t, c, "rm bin/perl; mv bin/third bin/perl; mv share/moved share/doc; "+linked, "three\nthree\n3\n")
			// The image below is the same for all.
			says(t, other, linked, "perl\nperl\n3\n")
			says(t, other, "echo else >bin/perl5.36.0; cat bin/perl; "+linked, "else\nelse\nelse\n3\n")
			says(t, c, linked, "three\nthree\n3\n")
		})
	}
}

// Programs such as "tar --one-file-system" and "find -xdev" look at the device,
// others recognise a file by its number.
func TestFilesOfTheImageKeepDeviceAndNumber(t *testing.T) {
	path := linkedImage(t)
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			c := p.chroot(t, change)
			check(t, errors.Join(c.Create(t.Context(), image(path, "linked")), c.Start(t.Context())))
			defer takeAway(t, c)
			says(t, c, `stat -c %i / bin/env bin/perl | while read n; do [ $n -lt 4294967296 ] || echo $n needs more than 32 bits; done`, "")
			if name == "overlay on tmpfs" {
				return // two file systems have two device numbers
			}
			says(t, c, "touch new; stat -c %d . bin/env new /etc/shells share/doc | sort -u | wc -l", "1\n")
			says(t, c, `for f in /etc/shells bin/perl; do a=$(stat -c %d:%i $f); echo x >>$f; b=$(stat -c %d:%i $f); [ $a = $b ] || echo $f: $a $b; done`, "")
			says(t, c, "find . -xdev -name perl | sort", "./bin/perl\n./share/doc/perl\n")
		})
	}
}

func TestAKeptChrootKeepsHardLinks(t *testing.T) {
	path := linkedImage(t)
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			dir := t.TempDir()
			c := p.chroot(t, change)
			check(t, errors.Join(c.Create(t.Context(), image(path, "linked")), c.Start(t.Context())))
			says(t, c, "echo one >bin/perl; "+linked, "one\none\n3\n")
			check(t, c.KillProcesses(t.Context()))
			base, err := c.Keep(t.Context(), dir, nil, roomy)
			check(t, err)
			check(t, errors.Join(c.Stop(t.Context()), c.Remove(t.Context())))
			for _, text := range []string{"two", "three"} {
				again := p.kept(t, dir)
				check(t, again.Resume(t.Context(), base))
				says(t, again, "cat bin/perl5.36.0 >/dev/null; echo "+text+" >share/doc/perl; "+linked, text+"\n"+text+"\n3\n")
				check(t, again.KillProcesses(t.Context()))
				mountedOnce(t, p.kept(t, dir), base)
				endVisit(t, again, base)
			}
			last := p.kept(t, dir)
			check(t, last.Remove(t.Context()))
		})
	}
}

// mountedOnce checks that nobody can mount the layers of a chroot while they are
// mounted: the kernel would not vouch for what is in them.
func mountedOnce(t *testing.T, c *chroot.Chroot, base string) {
	t.Helper()
	if base == "" {
		return
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no time to wait"))
	if err := c.Resume(ctx, base); !errors.Is(err, unix.EBUSY) {
		t.Errorf("got %v", err)
	}
}

// endVisit unmounts what the end of a namespace would.
func endVisit(t *testing.T, c *chroot.Chroot, base string) {
	t.Helper()
	check(t, c.Stop(t.Context()))
	if base != "" {
		check(t, unix.Unmount(c.Root(), unix.UMOUNT_NOFOLLOW))
	}
}

// A chroot that had to be copied to another disk has a work directory that knows
// another upper layer.
func TestACopiedChrootKeepsHardLinks(t *testing.T) {
	path := linkedImage(t)
	p := newPlace(t)
	other := filepath.Join(p.dir, "disk")
	check(t, os.Mkdir(other, 0o750))
	check(t, unix.Mount("none", other, "tmpfs", 0, ""))
	defer func() { check(t, unix.Unmount(other, 0)) }()
	dir := t.TempDir()
	c := p.chroot(t, func(cfg *chroot.Config) { cfg.BuildDir = filepath.Join(other, "build") })
	check(t, errors.Join(c.Create(t.Context(), image(path, "linked")), c.Start(t.Context())))
	says(t, c, "echo one >bin/perl; "+linked, "one\none\n3\n")
	check(t, c.KillProcesses(t.Context()))
	base, err := c.Keep(t.Context(), dir, nil, roomy)
	check(t, err)
	check(t, errors.Join(c.Stop(t.Context()), c.Remove(t.Context())))
	again := p.kept(t, dir)
	check(t, again.Resume(t.Context(), base))
	says(t, again, "echo two >share/doc/perl; "+linked, "two\ntwo\n3\n")
	check(t, again.KillProcesses(t.Context()))
	endVisit(t, again, base)
	last := p.kept(t, dir)
	check(t, last.Remove(t.Context()))
}
