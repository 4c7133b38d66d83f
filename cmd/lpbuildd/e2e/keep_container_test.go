//go:build integration

package e2e

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/backends/backendtest"
	"lpbuildd/buildd"
)

// failingImage is a small image that boots, and in which apt-get fails.
func (r *rig) failingImage() string {
	r.t().Helper()
	return r.putFile(backendtest.MiniImage(r.t(),
		backendtest.Entry{Name: "usr/sbin/init", Data: "#!/bin/sh\nmount -t devtmpfs udev /dev\nwhile :; do sleep 86400; done\n"},
		backendtest.Entry{Name: "usr/bin/apt-get", Data: "#!/bin/sh\necho clue >/clue; ls /etc/apt/auth.conf.d >>/clue; exit 100\n"},
		backendtest.Entry{Name: "run", Dir: true},
		backendtest.Entry{Name: "etc/apt", Dir: true},
		backendtest.Entry{Name: "etc/apt/auth.conf.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/sources.list.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/apt.conf.d", Dir: true},
		backendtest.Entry{Name: "etc/apt/preferences.d", Dir: true},
	))
}

// TestContainersKeep: the container of a failed build is stopped, can be looked
// into without a network, does not disturb the next build, and goes in time.
func TestContainersKeep(t *testing.T) {
	needRoot(t)
	for _, engine := range []struct{ name, cli string }{{"lxd", "lxc"}, {"incus", "incus"}} {
		t.Run(engine.name, func(t *testing.T) {
			r := newRig(t, nil, engine.name, engine.cli, "[keep]\nfailed = 1h\nbuilds = 2\n")
			r.image = r.failingImage()
			t.Cleanup(func() { r.forgetImage(t) })
			fail := func() {
				t.Helper()
				r.startRiddle()
				r.finish("CHROOTFAIL")
				must(t, r.client.Clean(t.Context()))
				r.checkLeaks()
			}
			fail()
			record := r.only()
			if got := r.containers(t); !slices.Equal(got, []string{record.Container}) || len(r.profiles(t)) != 0 {
				t.Fatalf("containers %v, profiles %v", got, r.profiles(t))
			}
			if state := r.engine(t, "list", record.Container, "--format", "csv", "--columns", "s"); strings.TrimSpace(state) != "STOPPED" {
				t.Errorf("it is %s", state)
			}

			// The same build again, whose container has the name that this one had.
			fail()
			out := r.mustLook("enter", record.ID, "--", "sh", "-c", "cat /clue; ls /sys/class/net /etc/apt/auth.conf.d /etc/apt/apt.conf.d; echo more >>/clue")
			if !strings.HasPrefix(out, "clue\nlpbuildd.conf\n") || strings.Contains(out, "eth0") || strings.Count(out, "lpbuildd") != 1 {
				t.Errorf("inside is %q", out)
			}
			if out := r.mustLook("enter", record.ID, "--", "cat", "/clue"); !strings.HasSuffix(out, "\nmore\n") {
				t.Errorf("inside is %q", out)
			}
			if state := r.engine(t, "list", record.Container, "--format", "csv", "--columns", "s"); strings.TrimSpace(state) != "STOPPED" {
				t.Errorf("it is %s", state)
			}

			if out, code := r.typed(record.ID, "cat /clue; exit 5\n"); code != 5 || !strings.Contains(out, "\r\nmore\r\n") {
				t.Errorf("%d: %s", code, out)
			}

			visit, _ := r.inside(record.ID)
			r.expire(record.ID)
			r.eventually("what is kept is removed", func() bool { return len(r.containers(t)) == 1 })
			if err := visit.Wait(); err == nil {
				t.Error("the visitor was not thrown out")
			}
			if _, err := r.look("kept", "rm", r.id("riddle")); err != nil {
				t.Error(err)
			}
			r.restart() // which empties the trash
			r.checkNothingLeft()
			if left, err := filepath.Glob(filepath.Join(r.records().Dir(), "*")); err != nil || len(left) != 1 {
				t.Errorf("left are %v, %v", left, err)
			}
		})
	}
}

func (r *rig) startRiddle() {
	r.t().Helper()
	r.accepts(buildd.Request{BuildID: r.id("riddle"), Tag: "snap", Image: r.image, Args: map[string]any{
		"name": "riddle", "series": "bookworm", "arch_tag": hostArch(r.t()), "image_type": "chroot",
		"git_repository": "https://git.invalid/riddle", "archives": []any{"deb https://u:hidden@archive.invalid/ bookworm main"},
	}})
}

// TestContainersKeepSurvivesKills kills supervisors while they keep a
// container: every container and profile is on record afterwards, or gone.
func TestContainersKeepSurvivesKills(t *testing.T) {
	needRoot(t)
	seed := number(t, "LPBUILDD_SEED", int(time.Now().UnixNano()%1_000_000))
	t.Logf("LPBUILDD_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	r := newRig(t, nil, "incus", "incus", "[keep]\nfailed = 1h\nbuilds = 100\n")
	r.image = r.failingImage()
	t.Cleanup(func() { r.forgetImage(t) })
	for range number(t, "LPBUILDD_KILLS", 5) {
		r.startRiddle()
		r.reaches("Scanning for processes to kill in build")
		<-time.After(time.Duration(random.IntN(3000)) * time.Millisecond)
		if pid := r.supervisors()["supervise-run"]; pid != 0 {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		if st := r.settled(); st.State == buildd.Waiting {
			must(t, r.client.Clean(t.Context()))
		}
	}
	r.restart()
	all, err := r.records().List()
	must(t, err)
	var want []string
	for _, record := range all {
		want = append(want, record.Container)
	}
	slices.Sort(want)
	t.Logf("kept are %v", want)
	// What the last supervisor has left may be undone behind the answers.
	r.eventually("no container is left that is not on record, and none is missing", func() bool {
		return slices.Equal(slices.Sorted(slices.Values(r.containers(t))), want) && len(r.profiles(t)) == 0
	})
	for _, record := range all {
		r.expire(record.ID)
	}
	r.looks()
	r.nothingKept()
	r.checkNothingLeft()
}

// forgetImage deletes what the engine keeps of the base image.
func (r *rig) forgetImage(t *testing.T) {
	for line := range strings.Lines(r.engine(t, "image", "alias", "list", "--format", "csv", r.image)) {
		r.engine(t, "image", "delete", strings.Split(line, ",")[0])
	}
}
