//go:build integration

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/buildd/cgroup"
)

// needGroups skips the test where the kernel or the container has no control
// groups for such limits.
func needGroups(t *testing.T, l cgroup.Limits) {
	t.Helper()
	if err := cgroup.Check(l); err != nil {
		t.Skip("needs control groups: ", err)
	}
}

// instance tells the builder of a test from others on this machine.
func instance() string { return fmt.Sprintf("e2e-%d", os.Getpid()) }

// named is the section of the configuration that names it.
func named() string { return "[backend]\ninstance = " + instance() + "\n" }

// groups lists the control groups of its builds that exist.
func groups(t *testing.T) []string {
	t.Helper()
	var found []string
	must(t, filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "lpbuildd-"+instance()+"-") {
			found = append(found, path)
		}
		return nil // others come and go
	}))
	return found
}

// checkGroups ends the test if a group outlives its build.
func (b *builder) checkGroups() {
	b.t.Helper()
	b.eventually("no control group is left behind", func() bool { return len(groups(b.t)) == 0 })
}

func TestABuildThatUsesTooMuchMemoryIsKilled(t *testing.T) {
	needGroups(t, cgroup.Limits{Memory: 1})
	for _, user := range []string{"root", "buildd"} {
		t.Run(user, func(t *testing.T) {
			b := newBuilder(t, options{user: user, config: named() + "[limits]\nmemory = 96M\n"})
			b.useStandIn()
			image := b.cheapImage(1 << 20)
			daemon := b.cmd.Process.Pid
			hungry := b.cheap(image, "echo hungry\nperl -e '$x = \"x\" x (300 << 20); print length $x, qq(\\n)' || exit 3\n")
			_, log := b.run("hungry", hungry, "PACKAGEFAIL")
			checkLog(t, log, "hungry\n", "Build summary\n", "Result:     PACKAGEFAIL\n",
				"used more memory than it may", "[limits] memory = 96M", "What to do:")
			b.clean()
			b.checkLeaks()
			b.checkGroups()
			// The limit is one for all processes together, and what keeps to it builds.
			_, log = b.run("modest", b.steady(image), "OK")
			checkLog(t, log, "Result:     OK\n")
			b.clean()
			b.checkGroups()
			if b.cmd.Process.Pid != daemon || syscall.Kill(daemon, 0) != nil {
				t.Error("the daemon did not survive")
			}
		})
	}
}

func TestTheSupervisorIsNotPreyOfTheOutOfMemoryKiller(t *testing.T) {
	needGroups(t, cgroup.Limits{Memory: 1})
	b := newBuilder(t, options{config: named() + "[limits]\nmemory = 96M\n"})
	b.useStandIn()
	// Many small processes, each smaller than the supervisor.
	script := "echo swarm\ni=0; while [ $i -lt 40 ]; do i=$((i+1)); perl -e '$x = \"x\" x (4 << 20); sleep 20' & done; wait; exit 3\n"
	_, log := b.run("swarm", b.cheap(b.cheapImage(1<<20), script), "PACKAGEFAIL")
	checkLog(t, log, "Build summary\n", "[limits] memory = 96M")
	b.clean()
	b.checkGroups()
}

func TestABuildGetsItsShareOfTheProcessors(t *testing.T) {
	needGroups(t, cgroup.Limits{CPUs: 1})
	b := newBuilder(t, options{config: named() + "[limits]\ncpus = 0.4\n"})
	b.useStandIn()
	// Two processes that would use two processors; bash counts what they used.
	script := `cat >burn <<'END'
end=$(( ${EPOCHREALTIME/./} + 4000000 ))
spin() { while [ ${EPOCHREALTIME/./} -lt $end ]; do :; done; }
spin & spin & wait
END
bash -c 'begin=${EPOCHREALTIME/./}; . ./burn; echo wall $(( (${EPOCHREALTIME/./} - begin) / 1000 )); times'
`
	_, log := b.run("burner", b.cheap(b.cheapImage(1<<20), script), "PACKAGEFAIL") // there is no .changes file
	found := regexp.MustCompile(`wall (\d+)\n.*\n(\d+)m([\d.]+)s (\d+)m([\d.]+)s\n`).FindStringSubmatch(log)
	if found == nil {
		t.Fatalf("the log has no times:\n%s", log)
	}
	number := func(i int) float64 {
		n, err := strconv.ParseFloat(found[i], 64)
		must(t, err)
		return n
	}
	wall, used := number(1)/1000, 60*number(2)+number(3)+60*number(4)+number(5)
	t.Logf("%.2f s of processor time in %.2f s", used, wall)
	// A period may be used up at each end.
	if share := used / wall; share > 0.5 {
		t.Errorf("the build used %.2f processors, its limit is 0.4", share)
	}
	b.clean()
	b.checkGroups()
}

func TestAKilledSupervisorLeavesNoControlGroup(t *testing.T) {
	needGroups(t, cgroup.Limits{Memory: 1})
	b := newBuilder(t, options{config: named() + "[limits]\nmemory = 200M\n"})
	b.useStandIn()
	b.build("doomed", b.cheap(b.cheapImage(1<<20), "sleep 3600\n"))
	b.eventually("the build is in its group", func() bool { return len(b.workers()) > 0 && len(groups(t)) > 0 })
	for _, pid := range b.supervisors() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // one takes the others with it
	}
	b.finish("BUILDERFAIL")
	b.clean()
	b.checkGroups()
}

// reload makes the daemon read its configuration, in which a key has changed.
func (b *builder) reload(key string) {
	b.t.Helper()
	read := func() int {
		log, err := os.ReadFile(filepath.Join(b.dir, "daemon.log"))
		must(b.t, err)
		return strings.Count(string(log), `msg="Configuration reloaded" changed=[`+key+`]`)
	}
	before := read()
	must(b.t, syscall.Kill(b.cmd.Process.Pid, syscall.SIGHUP))
	b.eventually("the configuration is read", func() bool { return read() > before })
}

func TestHangUpChangesTheNextBuildOnly(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	image := b.cheapImage(1 << 20)
	b.build("first", b.held(image))
	b.eventually("the build runs", func() bool { return len(b.workers()) > 0 })
	pids := b.supervisors()
	b.configure("[limits]\nwall = 1s\n")
	b.reload("limits.wall")
	for _, pid := range pids {
		must(t, syscall.Kill(pid, syscall.SIGHUP))
	}
	b.letGo("first")
	b.finish("OK")
	b.clean()
	b.build("second", b.cheap(image, "sleep 3600\n"))
	b.settled() // whose failure it is depends on where the second ends
	checkLog(t, b.log(), "Build summary\n", "[limits] wall")
	b.clean()
}
