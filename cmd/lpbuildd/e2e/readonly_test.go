//go:build integration

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/buildd"
)

// errorProne is a file system in a file that turns read-only after an error.
type errorProne struct {
	t           *testing.T
	image, path string
}

// putOnErrorProne moves a folder of the builder, whose daemon does not run, to
// such a file system.
func (b *builder) putOnErrorProne(path string) errorProne {
	b.t.Helper()
	needPrograms(b.t, "mkfs.ext4", "mount", "findmnt", "e2fsck", "cp")
	e := errorProne{t: b.t, image: filepath.Join(b.dir, filepath.Base(path)+".ext4"), path: path}
	must(b.t, os.WriteFile(e.image, nil, 0o600))
	must(b.t, os.Truncate(e.image, 256<<20))
	e.run("mkfs.ext4", "-q", e.image)
	aside := path + ".before"
	must(b.t, os.Rename(path, aside))
	must(b.t, os.Mkdir(path, 0o755))
	if out, err := exec.CommandContext(b.t.Context(), "mount", "-o", "loop,errors=remount-ro", e.image, path).CombinedOutput(); err != nil {
		b.t.Skipf("needs loop devices: %v: %s", err, out)
	}
	// destroy unmounts what is mounted there last.
	e.run("cp", "-a", aside+"/.", path+"/")
	must(b.t, os.RemoveAll(aside))
	must(b.t, os.RemoveAll(filepath.Join(path, "lost+found")))
	return e
}

func (e errorProne) run(argv ...string) string {
	e.t.Helper()
	out, err := exec.CommandContext(e.t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("%v: %v: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// fail makes the kernel find an error in the file system. What was written before
// is on the disk.
func (e errorProne) fail() {
	e.t.Helper()
	e.run("sync", "-f", e.path)
	device := filepath.Base(e.run("findmnt", "-no", "SOURCE", "--mountpoint", e.path))
	trigger := filepath.Join("/sys/fs/ext4", device, "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("1"), 0o200); err != nil {
		e.t.Skipf("needs a kernel that can be told of errors: %v", err)
	}
	if err := os.WriteFile(filepath.Join(e.path, ".probe"), nil, 0o600); err == nil {
		e.t.Fatal("it can still be written")
	}
}

// repair mounts another disk with the same on it, since the kernel does not let such
// a file system be written again.
func (e errorProne) repair() {
	e.t.Helper()
	must(e.t, syscall.Unmount(e.path, syscall.MNT_DETACH))
	other := e.image + ".repaired"
	e.run("cp", "--sparse=always", e.image, other)
	// It says with its exit code that there was something to repair.
	_ = exec.CommandContext(e.t.Context(), "e2fsck", "-fy", other).Run()
	e.run("mount", "-o", "loop", other, e.path)
	must(e.t, os.RemoveAll(filepath.Join(e.path, "lost+found"))) // e2fsck makes it
}

// TestADiskThatTurnsReadOnlyEndsTheBuild, as the builder's failure and within a
// bound, and nobody has to help the builder when the disk is well again.
func TestADiskThatTurnsReadOnlyEndsTheBuild(t *testing.T) {
	for name, of := range map[string]func(*builder) string{
		"the file cache": func(b *builder) string { return b.cache },
		"HOME":           func(b *builder) string { return b.home },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilder(t, options{config: "[cache]\nminfree = 0\n"})
			b.useStandIn()
			w := b.cheap(b.cheapImage(1<<20), "while :; do echo busy; sleep 0.1; done\n")
			b.kill()
			disk := b.putOnErrorProne(of(b))
			b.start()
			b.build("read-only", w)
			b.reaches("busy")
			disk.fail()
			st := b.finish("BUILDERFAIL")
			if st.BuildID != "read-only" {
				t.Errorf("it ended as %+v", st)
			}
			b.kill()
			disk.repair()
			b.start()
			if b.settled().State == buildd.Waiting {
				must(t, b.client.Clean(t.Context()))
			}
			good := b.steady(w.image)
			st, _ = b.run("afterwards", good, "OK")
			must(t, b.verify(good, st))
			b.clean()
		})
	}
}
