//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/buildd"
)

func TestAbort(t *testing.T) {
	type moment struct {
		name    string
		suite   string
		script  string
		reached func(*builder) bool
	}
	says := func(text string) func(*builder) bool {
		return func(b *builder) bool { return strings.Contains(b.log(), text) }
	}
	b := newBuilder(t, options{config: "[cache]\nroots = 1\n"})
	b.useStandIn()
	images := []string{b.cheapImage(32 << 20), b.cheapImage(33 << 20)}
	for _, m := range []moment{
		{"at once", "none", "sleep 300", func(*builder) bool { return true }},
		{"in prep", "none", "sleep 300", says("slow prep")},
		{"in unpack", "none", "sleep 300", says("Creating target")},
		{"in update", "nap300", "true", says("stand-in for apt-get")},
		{"in build", "none", "echo here; sleep 300", says("\nhere\n")},
		{"in a build that ignores signals", "none", "trap '' TERM INT HUP; echo here; while :; do sleep 1; done", says("\nhere\n")},
		{"in a build that left its session", "none", "setsid sh -c 'sleep 300' & echo here; wait", says("\nhere\n")},
		{"in gather", "none", deliver(t, map[string]string{"big.deb": ""}) + "truncate -s 1500M big.deb", (*builder).gathers},
	} {
		t.Run(m.name, func(t *testing.T) {
			b := b.within(t)
			if m.name == "in prep" {
				b.write(filepath.Join(b.dir, "share"), map[string]string{"bin/builder-prep": "#!/bin/sh\necho slow prep\nsleep 300\n"})
				defer func() { must(t, os.RemoveAll(filepath.Join(b.dir, "share/bin"))) }()
			}
			// Used in turn, of which one is kept: it is unpacked each time.
			images[0], images[1] = images[1], images[0]
			b.build("aborted", b.cheap(images[0], m.script+"\n").suite(m.suite))
			b.eventually("the moment has come", func() bool { return m.reached(b) })
			b.abort()
			checkLog(t, b.log(), "Build summary\n", "Result:     ABORTED\n")
			b.clean()
		})
	}
	b.run("next", b.steady(images[0]), "OK")
	b.clean()
}

// gathers tells whether a result is being stored.
func (b *builder) gathers() bool {
	files, _ := filepath.Glob(filepath.Join(b.cache, ".lpbuildd/tmp/*"))
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() > 1<<20 {
			return true
		}
	}
	return false
}

// managerWaits is when a manager gives up on an abort, and on the builder.
const managerWaits = 3 * time.Minute

// abort aborts the build, which must end in time and leave no process.
func (b *builder) abort() {
	b.t.Helper()
	began := time.Now()
	must(b.t, b.client.Abort(b.t.Context()))
	b.finish("ABORTED")
	took := time.Since(began)
	if left := b.workers(); len(left) > 0 {
		b.t.Errorf("there are processes left when the builder waits: %v", left)
	}
	if took >= managerWaits {
		b.t.Errorf("the builder is waiting only %s after the abort", took)
	}
}

func TestAbortOfAForkBomb(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	b.build("bomb", b.cheap(b.cheapImage(1<<20), "ulimit -p 400 || exit 1\necho here\nbomb() { bomb & bomb & while :; do :; done; }\nbomb\n").suite("none"))
	b.reaches("\nhere\n")
	b.eventually("the bomb has gone off", func() bool { return len(b.workers()) > 100 })
	b.abort()
	b.clean()
}

func TestAbortOfAProcessThatCannotBeKilled(t *testing.T) {
	freezer := newFreezer(t)
	b := newBuilder(t, options{config: "[limits]\nabort = 3s\n"})
	t.Cleanup(freezer.thaw) // before the builder is destroyed
	b.useStandIn()
	b.build("frozen", b.cheap(b.cheapImage(1<<20), "echo here\nexec sleep 4321\n").suite("none"))
	b.reaches("\nhere\n")
	var pid int
	b.eventually("the build sleeps", func() bool {
		for _, p := range b.workers() {
			if strings.Join(p.args, " ") == "sleep 4321" {
				pid = p.pid
			}
		}
		return pid != 0
	})
	freezer.freeze(b, pid)
	must(t, b.client.Abort(t.Context()))
	if st := b.status(); st.State != buildd.Aborting || st.BuildID != "frozen" {
		t.Errorf("after the abort: %+v", st)
	}
	st := b.finish("BUILDERFAIL")
	if st.BuildID != "frozen" {
		t.Errorf("waiting: %+v", st)
	}
	checkLog(t, b.log(), "\nABORTING: Failed to kill all processes.\n", "sleep", "Result:     BUILDERFAIL\n")
	if again := b.restart(); again.State != buildd.Waiting || again.Outcome != "BUILDERFAIL" {
		t.Errorf("after a restart: %+v", again)
	}
	must(t, b.client.Clean(t.Context()))
	if st := b.status(); st.State != buildd.Idle {
		t.Errorf("after clean: %+v", st)
	}
	freezer.thaw()
	b.eventually("the process dies", func() bool { return syscall.Kill(pid, 0) != nil })
	b.run("next", b.steady(b.cheapImage(1<<20)), "OK")
	b.clean()
}

// freezer is a control group whose processes can be stopped so that not even
// SIGKILL ends them.
type freezer struct {
	t             *testing.T
	dir           string
	file          string
	frozen, thaws string
}

func newFreezer(t *testing.T) *freezer {
	t.Helper()
	needRoot(t)
	f := &freezer{t: t, file: "freezer.state", frozen: "FROZEN", thaws: "THAWED"}
	parent := "/sys/fs/cgroup/freezer"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.procs"); err == nil {
		parent, f.file, f.frozen, f.thaws = "/sys/fs/cgroup", "cgroup.freeze", "1", "0"
	}
	f.dir = filepath.Join(parent, fmt.Sprintf("lpbuildd-e2e-%d", os.Getpid()))
	if err := os.Mkdir(f.dir, 0o755); err != nil {
		t.Skipf("needs a freezer control group: %v", err)
	}
	t.Cleanup(func() {
		f.thaw()
		_ = os.Remove(f.dir)
	})
	return f
}

func (f *freezer) freeze(b *builder, pid int) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(f.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644))
	must(f.t, os.WriteFile(filepath.Join(f.dir, f.file), []byte(f.frozen), 0o644))
	b.eventually("the process is frozen", func() bool {
		state, _ := os.ReadFile(filepath.Join(f.dir, f.file))
		events, _ := os.ReadFile(filepath.Join(f.dir, "cgroup.events"))
		return strings.TrimSpace(string(state)) == "FROZEN" || strings.Contains(string(events), "frozen 1")
	})
}

func (f *freezer) thaw() {
	_ = os.WriteFile(filepath.Join(f.dir, f.file), []byte(f.thaws), 0o644)
}
