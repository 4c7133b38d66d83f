package backends

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"lpbuildd/buildd/state"
)

const (
	// defaultStrayGrace is how long a process that was left behind may keep others
	// waiting for the end of its output.
	defaultStrayGrace = 10 * time.Second
	// strayRounds is how often new ones are stopped before all are killed, so
	// that they cannot multiply faster than they die.
	strayRounds = 20
	// maxStrays are named in a message, with so many characters of their command.
	maxStrays  = 5
	maxCommand = 100
)

// Stray says who held the output of a command that was done.
type Stray struct {
	// Argv is the command.
	Argv []string
	// Inner says that something was done that the command ran in a target, and the
	// command waited for it. Those who held the output had to be killed.
	Inner bool
	// Held names them, e.g. "process 12 (sleep 1000)".
	Held string
}

// watchStrays looks, until ctx ends, for processes that keep a command from
// ending. A program such as sbuild runs others in a target and reads what they
// write up to its end, which never comes when they leave a process behind that
// holds their output: then that process is killed. While anything that the
// command runs in the target is not done, nothing is; nor ever if the command is
// in the target itself, where what it waits for may be its own work.
func (h Host) watchStrays(ctx context.Context, command int, argv []string) {
	grace := h.strayGrace()
	looks := h.looks
	if looks == nil {
		tick := time.NewTicker(grace / 5)
		defer tick.Stop()
		looks = tick.C
	}
	var since, now time.Time
	var told []int
	for {
		select {
		case <-ctx.Done():
			return
		case now = <-looks:
		}
		strays := blockers(command)
		switch {
		case len(strays) == 0:
			since = time.Time{}
		case since.IsZero():
			since = now
		case now.Sub(since) >= grace:
			held := describe(strays)
			killStrays(command, strays)
			// One that does not die is told of once: the log of a build that hangs
			// is silent.
			if !slices.Equal(strays, told) {
				h.Stray(Stray{Argv: argv, Inner: true, Held: held})
			}
			told = strays
		}
	}
}

// killStrays kills processes, and those that they make meanwhile.
func killStrays(command int, strays []int) {
	stopped := map[int]bool{}
	for range strayRounds {
		fresh := slices.DeleteFunc(strays, func(pid int) bool { return stopped[pid] })
		if len(fresh) == 0 {
			break
		}
		for _, pid := range fresh {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			stopped[pid] = true
		}
		strays = blockers(command)
	}
	for pid := range stopped {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// blockers are the processes that alone hold a pipe open on which a command, or
// one that it has started, reads. There are none as long as something lives that
// the command has started with another root directory than its own: in a target,
// that is. A command that is in a target itself has none.
func blockers(command int) []int {
	root := rootOf(command)
	if root != rootOf(os.Getpid()) {
		return nil
	}
	all := processes()
	family, waiting := all.family(command), map[string]bool{}
	for pid := range family {
		if pid != command && all[pid].alive && rootOf(pid) != root {
			return nil
		}
		for pipe, writes := range pipesOf(pid) {
			if !writes {
				waiting[pipe] = true
			}
		}
	}
	for pid := range family {
		for pipe, writes := range pipesOf(pid) {
			if writes {
				delete(waiting, pipe)
			}
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	return all.holders(func(pid int, pipe string) bool { return !family[pid] && waiting[pipe] })
}

// processTable has what is known of each process of this PID namespace.
type processTable map[int]struct {
	parent int
	alive  bool
}

func processes() processTable {
	all := processTable{}
	pids, _ := state.Processes() // what cannot be listed is not killed
	for _, pid := range pids {
		s, err := state.ReadStat(pid)
		if err != nil {
			continue
		}
		p := all[pid]
		p.parent = s.Parent
		// The threads of a process may outlive its first.
		tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		p.alive = !s.Dead() || len(tasks) > 1
		all[pid] = p
	}
	return all
}

// family is a process and all that it has started, but for those whose parent
// has died.
func (all processTable) family(of int) map[int]bool {
	found := map[int]bool{of: true}
	for grown := true; grown; {
		grown = false
		for pid, p := range all {
			if !found[pid] && found[p.parent] {
				found[pid], grown = true, true
			}
		}
	}
	return found
}

// holders are the processes that write to one of the pipes. This one, and the
// first, which may be of this program too, are none.
func (all processTable) holders(match func(pid int, pipe string) bool) []int {
	var found []int
	for pid := range all {
		if pid == 1 || pid == os.Getpid() {
			continue
		}
		for pipe, writes := range pipesOf(pid) {
			if writes && match(pid, pipe) {
				found = append(found, pid)
				break
			}
		}
	}
	slices.Sort(found)
	return found
}

// pipesOf are the pipes that a process has open, by their names in /proc, and
// whether it may write to them.
func pipesOf(pid int) map[string]bool {
	pipes := map[string]bool{}
	// All threads share them, but the first may be gone.
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/fd", pid))
	for _, dir := range tasks {
		files, err := os.ReadDir(dir)
		for _, f := range files {
			path := filepath.Join(dir, f.Name())
			name, err := os.Readlink(path)
			if err != nil || !strings.HasPrefix(name, "pipe:") {
				continue
			}
			info, err := os.Lstat(path)
			pipes[name] = pipes[name] || err == nil && info.Mode()&0o200 != 0
		}
		if err == nil && len(files) > 0 {
			break
		}
	}
	return pipes
}

func rootOf(pid int) string {
	root, _ := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
	return root
}

// describe names processes for people.
func describe(pids []int) string {
	names := make([]string, 0, len(pids))
	for i, pid := range pids {
		if i == maxStrays {
			names = append(names, fmt.Sprintf("%d more", len(pids)-i))
			break
		}
		names = append(names, fmt.Sprintf("process %d (%s)", pid, commandOf(pid)))
	}
	return strings.Join(names, ", ")
}

// commandOf is the command line of a process, or as many of its words as fit, or
// else its name. Words stay whole: half a secret would not be known for one.
func commandOf(pid int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	line := fewWords(printable(text))
	if line == "" {
		text, _ = os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		line = printable(text)
	}
	return line
}

// fewWords are as many words of a line as fit, "" if the first one does not.
func fewWords(line string) string {
	if len(line) <= maxCommand {
		return line
	}
	end := strings.LastIndexByte(line[:maxCommand+1], ' ')
	if end <= 0 {
		return ""
	}
	return line[:end] + " ..."
}

// printable makes of a text one line that changes no terminal.
func printable(text []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, string(text)))
}
