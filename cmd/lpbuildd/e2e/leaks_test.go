//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// proc is a process of a builder.
type proc struct {
	pid  int
	args []string
	exe  string
	// inside says that its root or working directory is in the builder's folder.
	inside bool
}

func (p proc) String() string { return fmt.Sprintf("%d %q (%s)", p.pid, p.args, p.exe) }

func (p proc) isSudo() bool { return filepath.Base(p.args[0]) == "sudo" }

// role is what a process of the daemon's program does, e.g. "supervise-run".
func (p proc) role(program string) string {
	if p.exe != program || len(p.args) < 2 {
		return ""
	}
	return p.args[1]
}

// processes lists what runs for this builder, in whatever namespace; not those
// that are dead and not yet waited for.
func (b *builder) processes() []proc {
	var found []proc
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, ours := b.inspect(pid); ours {
			found = append(found, p)
		}
	}
	return found
}

func (b *builder) inspect(pid int) (proc, bool) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	cmdline, _ := os.ReadFile(dir + "cmdline")
	if len(cmdline) == 0 {
		return proc{}, false
	}
	p := proc{pid: pid, args: strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")}
	p.exe, _ = os.Readlink(dir + "exe")
	for _, name := range []string{"cwd", "root"} {
		link, _ := os.Readlink(dir + name)
		p.inside = p.inside || link == b.dir || strings.HasPrefix(link, b.dir+"/")
	}
	named := bytes.Contains(cmdline, []byte(b.dir+"/")) || bytes.Contains(cmdline, []byte(b.program+"\x00"))
	return p, p.inside || named || p.exe == b.program
}

// supervisors lists the processes of the supervisor by their role. A command that
// one of them is starting looks like it until it is there, and is younger.
func (b *builder) supervisors() map[string]int {
	roles := map[string]int{}
	for _, p := range b.processes() {
		role := p.role(b.program)
		if older := roles[role]; strings.HasPrefix(role, "supervise") && (older == 0 || p.pid < older) {
			roles[role] = p.pid
		}
		if p.isSudo() {
			roles["sudo"] = p.pid
		}
	}
	return roles
}

// workers lists the processes of a build: all but the daemon's own.
func (b *builder) workers() []proc {
	return slices.DeleteFunc(b.processes(), func(p proc) bool {
		return p.exe == b.program || p.isSudo()
	})
}

// mounts lists the mounts in the builder's folder that any process sees.
func (b *builder) mounts() []string {
	var found []string
	seen := map[string]bool{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		namespace, err := os.Readlink("/proc/" + e.Name() + "/ns/mnt")
		if err != nil || seen[namespace] {
			continue
		}
		// A process may end while it is looked at; another of its namespace counts.
		data, err := os.ReadFile("/proc/" + e.Name() + "/mountinfo")
		seen[namespace] = err == nil && len(data) > 0
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) > 4 && strings.HasPrefix(fields[4], b.dir+"/") && fields[4] != b.home && fields[4] != b.cache {
				found = append(found, namespace+" "+fields[4])
			}
		}
	}
	return found
}

// schrootFiles lists what stands in schroot's configuration for this builder.
func (b *builder) schrootFiles() []string {
	var found []string
	files, _ := filepath.Glob("/etc/schroot/chroot.d/*")
	for _, path := range files {
		data, _ := os.ReadFile(path)
		if bytes.Contains(data, []byte(b.dir)) {
			found = append(found, path)
		}
	}
	return found
}

// leaks lists what an idle builder must not have.
func (b *builder) leaks() []string {
	found := b.mounts()
	for _, p := range b.processes() {
		if p.pid != b.cmd.Process.Pid {
			found = append(found, "process "+p.String())
		}
	}
	found = append(found, b.schrootFiles()...)
	list := func(dir string, allowed func(string) bool) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !allowed(e.Name()) {
				found = append(found, filepath.Join(dir, e.Name()))
			}
		}
	}
	none := func(string) bool { return false }
	state := filepath.Join(b.cache, ".lpbuildd")
	list(b.home, func(name string) bool { return strings.HasPrefix(name, ".") })
	list(b.cache, func(name string) bool { return name == ".lpbuildd" || b.known[name] })
	list(filepath.Join(state, "tmp"), none)
	list(filepath.Join(state, "trash"), none)
	// What is kept on purpose has its final name.
	list(filepath.Join(state, "kept"), func(name string) bool { return !strings.HasSuffix(name, ".new") })
	// The reserve is the daemon's; the others tell of the last build, and go with
	// the next one.
	list(filepath.Join(state, "build"), func(name string) bool {
		return slices.Contains([]string{"reserve", "socket", "outcome.json", "supervisor.json", "limits.json", "builder.json"}, name)
	})
	list(filepath.Join(state, "meta"), func(name string) bool { return b.known[strings.TrimSuffix(name, ".json")] })
	return found
}

// checkLeaks ends the test if an idle builder keeps anything. What a build
// throws away may be deleted after its end.
func (b *builder) checkLeaks() {
	b.t.Helper()
	var found []string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("left behind: %s", strings.Join(found, "\n\t"))
		}
	}()
	b.eventually("nothing is left behind", func() bool {
		found = b.leaks()
		return len(found) == 0
	})
}
