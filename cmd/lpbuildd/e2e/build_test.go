//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/buildd"
)

func TestBuild(t *testing.T) {
	for _, user := range []string{"root", "buildd"} {
		for _, test := range []struct{ name, config string }{
			{"an overlay on disk", ""},
			{"an overlay in memory", "[chroot]\ntmpfs = 64M\n"},
			{"an overlay in memory that there is not enough of", "[chroot]\ntmpfs = 64T\n"},
			{"an unpacked image", "[chroot]\noverlay = never\n"},
		} {
			t.Run(test.name+" of "+user, func(t *testing.T) {
				b := newBuilder(t, options{user: user, config: test.config})
				b.useStandIn()
				w := b.steady(b.cheapImage(1 << 20))
				for _, id := range []string{"first", "second"} {
					st, _ := b.run(id, w, "OK")
					must(t, b.verify(w, st))
					b.clean()
				}
			})
		}
	}
}

// TestBuildGoesOnWithoutTheDaemon kills the daemon while sbuild runs.
func TestBuildGoesOnWithoutTheDaemon(t *testing.T) {
	b := newBuilder(t, options{user: "buildd"})
	w := b.realPackage(b.baseImage(), "echo here; "+holding)
	b.build("orphan", w)
	b.reaches("\nhere\n")
	b.kill()
	if len(b.workers()) == 0 {
		t.Error("the build died with the daemon")
	}
	if st := b.start(); st.State != buildd.Building || st.BuildID != "orphan" || len(st.LogTail) == 0 {
		t.Errorf("after the restart: %+v", st)
	}
	for _, p := range b.workers() {
		if strings.Join(p.args, " ") == holder {
			must(t, syscall.Kill(p.pid, syscall.SIGKILL))
		}
	}
	st := b.finish("OK")
	must(t, b.verify(w, st))
	// And once more when it is over: nothing may be lost.
	log := b.log()
	if again := b.restart(); !reflect.DeepEqual(again, st) {
		t.Errorf("announced was %+v, and then %+v", st, again)
	}
	must(t, b.verify(w, st))
	if b.log() != log {
		t.Error("the log has changed")
	}
	b.clean()
}

func TestUnpackedRootIsUsedAgain(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	w := b.steady(b.cheapImage(1 << 20))
	inode := func() uint64 {
		st, err := os.Stat(filepath.Join(b.cache, ".lpbuildd/roots", w.image+".root"))
		must(t, err)
		return st.Sys().(*syscall.Stat_t).Ino
	}
	b.run("first", w, "OK")
	b.clean()
	before := inode()
	b.run("second", w, "OK")
	b.clean()
	if after := inode(); after != before {
		t.Errorf("the root was unpacked again: inode %d, then %d", before, after)
	}
}

func TestResultThatIsAnInputSurvivesClean(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	input := b.put([]byte("the same"))
	w := b.cheap(b.cheapImage(1<<20), deliver(t, map[string]string{"twin.deb": "the same", "other.deb": "other"}))
	st, _ := b.run("twins", w, "OK")
	if st.FileMap["twin.deb"] != input {
		t.Errorf("the results are %v", st.FileMap)
	}
	b.clean()
	if !b.cached(input) || b.cached(st.FileMap["other.deb"]) {
		t.Error("clean deleted an input, or left a result")
	}
}

func TestFastCleanup(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	w := b.steady(b.cheapImage(1 << 20))
	b.run("again", w.with(map[string]any{"fast_cleanup": true}), "OK")
	must(t, b.client.Clean(t.Context()))
	if _, err := os.Stat(filepath.Join(b.home, "build-again")); err != nil {
		t.Errorf("fast clean-up is for machines that are reset: %v", err)
	}
	st, _ := b.run("again", w, "OK")
	must(t, b.verify(w, st))
	b.clean()

	b.run("again", w.with(map[string]any{"fast_cleanup": true}), "OK")
	must(t, b.client.Clean(t.Context()))
	b.restart()
	b.checkLeaks()
}
