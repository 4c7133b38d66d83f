//go:build integration

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
)

// riddle is cheap work that fails, and leaves something to look at in its
// build directory and in its target.
func (b *builder) riddle(image string) work {
	return b.cheap(image, "echo clue >chroot-autobuild/tmp/clue; echo riddle.; exit 2\n")
}

// records is what is kept of this builder.
func (b *builder) records() kept.Builds {
	return kept.In(state.Folder(filepath.Join(b.cache, ".lpbuildd")))
}

// operator is a call of the program by an operator.
func (b *builder) operator(args ...string) *exec.Cmd {
	dash := len(args)
	for i, arg := range args {
		if arg == "--" {
			dash = i
			break
		}
	}
	all := append([]string{}, args[:dash]...)
	all = append(all, "--config", filepath.Join(b.dir, "config"))
	cmd := exec.CommandContext(b.t.Context(), b.program, append(all, args[dash:]...)...)
	cmd.Env = append(os.Environ(), "SUDO_USER=operator")
	return cmd
}

// look runs a command to its end.
func (b *builder) look(args ...string) (string, error) {
	var out bytes.Buffer
	cmd := b.operator(args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// mustLook is what a command prints.
func (b *builder) mustLook(args ...string) string {
	b.t.Helper()
	out, err := b.look(args...)
	if err != nil {
		b.t.Fatalf("lpbuildd %v: %v\n%s", args, err, out)
	}
	return out
}

// only is the one thing that is kept.
func (b *builder) only() kept.Record {
	b.t.Helper()
	all, err := b.records().List()
	must(b.t, err)
	if len(all) != 1 {
		b.t.Fatalf("kept is %+v; the log:\n%s", all, b.log())
	}
	return all[0]
}

// expire makes what is kept due.
func (b *builder) expire(id string) {
	b.t.Helper()
	path := filepath.Join(b.records().Path(id), "record.json")
	data, err := os.ReadFile(path)
	must(b.t, err)
	var r map[string]any
	must(b.t, json.Unmarshal(data, &r))
	r["expires"] = time.Now().Add(-time.Second)
	data, err = json.Marshal(r)
	must(b.t, err)
	must(b.t, os.WriteFile(path+".tmp", data, 0o644))
	must(b.t, os.Rename(path+".tmp", path))
}

// looks has the daemon look for what is due: it does at its start, and then every ten
// seconds, which some tests wait for.
func (b *builder) looks() {
	b.t.Helper()
	b.restart()
}

// nothingKept waits until the daemon has removed it all.
func (b *builder) nothingKept() {
	b.t.Helper()
	b.eventually("what is kept is removed", func() bool {
		entries, err := os.ReadDir(b.records().Dir())
		must(b.t, err)
		return len(entries) == 1 && entries[0].Name() == "kept.log"
	})
	b.checkLeaks()
}

func (b *builder) keptLog() string {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.records().Dir(), "kept.log"))
	must(b.t, err)
	return string(data)
}

const keepOne = "[keep]\nfailed = 1h\n"

// TestKeep: a failed build can be looked at while the next one runs, and is
// gone when its time is over.
func TestKeep(t *testing.T) {
	for _, test := range []struct {
		name string
		options
	}{
		{"an overlay on disk of buildd", options{user: "buildd"}},
		{"an overlay on disk of root", options{}},
		{"an overlay in memory", options{config: "[chroot]\ntmpfs = 64M\n"}},
		{"an unpacked image", options{config: "[chroot]\noverlay = never\n"}},
		{"a home on another disk", options{user: "buildd", homeBytes: 64 << 20}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.config += keepOne
			b := newBuilder(t, test.options)
			b.useStandIn()
			image := b.cheapImage(1 << 20)
			_, log := b.run("riddle", b.riddle(image), "PACKAGEFAIL")
			checkLog(t, log, "Keeping the target of build riddle until ", "lpbuildd enter riddle\n")
			b.clean()
			record := b.only()

			w := b.steady(image)
			b.build("next", w)
			b.reaches("steady 1.")
			if out := b.mustLook("enter", "riddle", "--", "cat", "/tmp/clue"); out != "clue\n" {
				t.Errorf("inside is %q", out)
			}
			b.mustLook("enter", record.ID, "--", "sh", "-c", "echo more >>/tmp/clue; mkdir /kept")
			if out := b.mustLook("enter", "--", "cat", "/tmp/clue"); out != "clue\nmore\n" {
				t.Errorf("inside is %q", out)
			}
			out, err := b.look("enter", "riddle", "--", "sh", "-c", "cat /proc/mounts; exit 7")
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(out, " /proc proc ") || !strings.Contains(out, " /dev/pts devpts ") {
				t.Errorf("%v: %s", err, out)
			}
			st := b.finish("OK")
			must(t, b.verify(w, st))
			b.clean()

			out = b.mustLook("kept")
			if !strings.Contains(out, "riddle") || !strings.Contains(out, "PACKAGEFAIL") {
				t.Errorf("kept is\n%s", out)
			}
			var list []kept.Record
			must(t, json.Unmarshal([]byte(b.mustLook("kept", "--json")), &list))
			if len(list) != 1 || list[0].ID != record.ID {
				t.Errorf("kept is %+v", list)
			}
			b.expire(record.ID)
			if test.user == "" {
				b.looks()
			}
			b.nothingKept()
			checkLog(t, b.keptLog(), "Failed build kept", `msg="Kept build entered" build_id=riddle`, "by=operator", "Kept build left", "it has expired")
		})
	}
}

// inside starts somebody who stays inside until the input is closed.
func (b *builder) inside(name string) (cmd *exec.Cmd, leave io.Closer) {
	b.t.Helper()
	cmd = b.operator("enter", name, "--", "sh", "-c", "echo here; cat")
	in, err := cmd.StdinPipe()
	must(b.t, err)
	out, err := cmd.StdoutPipe()
	must(b.t, err)
	cmd.Stderr = os.Stderr
	must(b.t, cmd.Start())
	buf := make([]byte, 5)
	if _, err := io.ReadFull(out, buf); err != nil {
		b.t.Fatalf("nobody is inside: %v", err)
	}
	return cmd, in
}

// typed is a visit by somebody at a terminal, who types this: what they see,
// and the exit code.
func (b *builder) typed(name, text string) (string, int) {
	b.t.Helper()
	needPrograms(b.t, "script")
	enter := b.operator("enter", name)
	script := exec.CommandContext(b.t.Context(), "script", "-qec", backends.Quote(enter.Args...), "/dev/null")
	script.Stdin = strings.NewReader(text)
	out, _ := script.CombinedOutput() // the exit code says it all
	return string(out), script.ProcessState.ExitCode()
}

func TestKeptWithSomebodyInside(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: keepOne})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	b.run("riddle", b.riddle(image), "PACKAGEFAIL")
	must(t, b.client.Clean(t.Context()))
	id := b.only().ID

	visit, leave := b.inside("riddle")
	if out := b.mustLook("kept"); !strings.Contains(out, "operator since") {
		t.Errorf("kept is\n%s", out)
	}
	for _, args := range [][]string{{"enter", "riddle", "--", "true"}, {"kept", "rm", "riddle"}} {
		if out, err := b.look(args...); err == nil || !strings.Contains(out, "operator since") {
			t.Errorf("%v: %v: %s", args, err, out)
		}
	}
	must(t, leave.Close())
	must(t, visit.Wait())

	visit, _ = b.inside("riddle")
	must(t, visit.Process.Signal(syscall.SIGHUP))
	if err := visit.Wait(); err == nil {
		t.Error("the visit goes on although its terminal is gone")
	}
	b.eventually("all of the visit is gone", func() bool { return len(b.mounts()) == 0 && len(b.workers()) == 0 })

	// Killed, so that it cannot tidy up: all that it has started ends, and the
	// next one can enter.
	visit, _ = b.inside("riddle")
	must(t, visit.Process.Kill())
	_ = visit.Wait() // killed
	b.eventually("what the visit has started is gone", func() bool { return len(b.mounts()) == 0 && len(b.workers()) == 0 })
	b.mustLook("enter", "riddle", "--", "true")

	visit, _ = b.inside("riddle")
	b.expire(id)
	b.nothingKept()
	if err := visit.Wait(); err == nil {
		t.Error("the visitor was not thrown out")
	}
	checkLog(t, b.keptLog(), "Visit to a kept build ended by force")
}

func TestKeptIsRemovedByHand(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: keepOne})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	b.run("riddle", b.riddle(image), "PACKAGEFAIL")
	b.clean()
	b.mustLook("kept", "rm", "riddle")
	b.restart() // which empties the trash
	b.nothingKept()
	checkLog(t, b.keptLog(), "operator has asked for it")

	// And without a daemon.
	b.run("riddle", b.riddle(image), "PACKAGEFAIL")
	b.clean()
	b.expire(b.only().ID)
	b.kill()
	b.mustLook("kept", "expire")
	if all, err := b.records().List(); err != nil || len(all) > 0 {
		t.Errorf("kept is %v, %v", all, err)
	}
	b.start()
	b.nothingKept()
}

// TestKeptHoldsItsBaseImage: it must not be evicted while it is needed.
func TestKeptHoldsItsBaseImage(t *testing.T) {
	b := newBuilder(t, options{config: keepOne + "[cache]\nroots = 0\n"})
	b.useStandIn()
	b.run("riddle", b.riddle(b.cheapImage(1<<20)), "PACKAGEFAIL")
	b.clean()
	base := b.only().Base
	other := b.cheapImage(2 << 20)
	for _, id := range []string{"second", "third"} {
		b.run(id, b.steady(other), "OK")
		b.clean()
	}
	if out := b.mustLook("enter", "riddle", "--", "cat", "/tmp/clue"); out != "clue\n" {
		t.Errorf("inside is %q", out)
	}
	b.expire(b.only().ID)
	b.looks()
	b.nothingKept()
	b.run("last", b.steady(other), "OK")
	b.clean()
	if _, err := os.Stat(filepath.Join(b.cache, ".lpbuildd/roots", base+".root")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the base image of what is gone is still there: %v", err)
	}
}

// TestKeepSurvivesKills kills the daemon and the supervisor at the end of a
// build: what is left is either kept, or nothing.
func TestKeepSurvivesKills(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: "[keep]\nfailed = 1h\nbuilds = 100\n"})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	seed := number(t, "LPBUILDD_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("LPBUILDD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	outcomes := map[string]int{}
	for i := range 30 {
		b.build("riddle", b.riddle(image))
		b.reaches("\nriddle.\n")
		<-time.After(time.Duration(random.IntN(40)) * time.Millisecond)
		for role, pid := range b.supervisors() {
			if role == "supervise-run" || i%2 == 0 {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if i%3 == 0 {
			b.restart()
		}
		st := b.settled()
		outcomes[string(st.State)+" "+string(st.Outcome)]++
		if st.State == buildd.Waiting {
			must(t, b.client.Clean(context.WithoutCancel(t.Context())))
		}
	}
	b.restart()
	all, err := b.records().List()
	must(t, err)
	t.Logf("outcomes %v, kept %d", outcomes, len(all))
	// What the last supervisor has left may be undone behind the answers.
	b.eventually("there is nothing but records, and the log", func() bool {
		entries, err := os.ReadDir(b.records().Dir())
		must(t, err)
		return len(entries) == len(all)+1
	})
	b.checkLeaks()
	for _, r := range all {
		if out := b.mustLook("enter", r.ID, "--", "cat", "/tmp/clue"); out != "clue\n" {
			t.Errorf("inside is %q", out)
		}
		b.expire(r.ID)
	}
	b.looks()
	b.nothingKept()
}

// TestKeepARealPackage: the tree of a package that does not build is there, in
// a shell in a terminal.
func TestKeepARealPackage(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: keepOne})
	w := b.realPackage(b.baseImage(), "echo half >debian/half; exit 1")
	b.run("real", w, "PACKAGEFAIL")
	b.clean()
	if out := b.mustLook("enter", "real", "--", "sh", "-c", "cat /build/*/*/debian/half; id -un; uname -m"); !strings.HasPrefix(out, "half\nroot\n") {
		t.Errorf("inside is %q", out)
	}
	if out, code := b.typed("real", "cd /build/*/*/debian && tty && cat half && exit 5\n"); code != 5 || !strings.Contains(out, "/dev/pts/0\r\nhalf\r\n") {
		t.Errorf("%d: %s", code, out)
	}
	b.expire(b.only().ID)
	b.looks()
	b.nothingKept()
}

// TestKeptGoesWhenTheDiskIsShort: before its time, and before a download is
// refused or anything is evicted for it.
func TestKeptGoesWhenTheDiskIsShort(t *testing.T) {
	const minFree = 32 << 20
	b := newBuilder(t, options{user: "buildd", cacheBytes: 256 << 20, config: keepOne + fmt.Sprintf("[cache]\nminfree = %d\n", minFree)})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	keep := func() {
		t.Helper()
		b.run("riddle", b.riddle(image), "PACKAGEFAIL")
		must(t, b.client.Clean(t.Context()))
		b.checkLeaks()
		b.only()
	}
	free := func() int64 {
		t.Helper()
		space, err := b.records().Space()
		must(t, err)
		return space.Free.Bytes
	}

	keep()
	// The least that does not fit beside it, and fits without it: the clue takes a
	// page or two.
	other := b.put(make([]byte, free()-minFree+1))
	b.nothingKept()
	if !b.cached(image) || !b.cached(other) {
		t.Error("something was evicted")
	}
	checkLog(t, b.keptLog(), "the disk is short")
	must(t, os.Remove(filepath.Join(b.cache, other)))

	keep()
	filled := filepath.Join(b.cache, "filled")
	must(t, os.WriteFile(filled, make([]byte, free()-minFree/2), 0o600))
	b.eventually("what is kept is removed", func() bool {
		all, err := b.records().List()
		must(t, err)
		return len(all) == 0
	})
	must(t, os.Remove(filled))
}
