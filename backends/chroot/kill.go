package chroot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// firstPause and lastPause bound the wait between passes of killing, which
	// doubles each time.
	firstPause = 2 * time.Millisecond
	lastPause  = 50 * time.Millisecond
	// freezeRounds is how often new processes are stopped before all are
	// killed, so that they cannot multiply faster than they die.
	freezeRounds = 20
)

// KillProcesses kills every process whose root directory is that of the chroot
// or below, until there is none. When ctx ends first, the error lists those
// that survive. Dead processes that nobody has waited for do not count.
func (c *Chroot) KillProcesses(ctx context.Context) error {
	pause := firstPause
	for {
		freeze(c.Root())
		pids, err := processesIn(c.Root())
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		select {
		case <-ctx.Done():
			return stillAlive(c.Root(), context.Cause(ctx))
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

// freeze stops processes until there are no new ones.
func freeze(root string) {
	stopped := map[int]bool{}
	for range freezeRounds {
		pids, err := processesIn(root)
		if err != nil {
			return
		}
		fresh := slices.DeleteFunc(pids, func(pid int) bool { return stopped[pid] })
		if len(fresh) == 0 {
			return
		}
		for _, pid := range fresh {
			_ = syscall.Kill(pid, syscall.SIGSTOP)
			stopped[pid] = true
		}
	}
}

// processesIn lists the processes that run in root. Those that cannot be
// looked at are skipped; that includes zombies.
func processesIn(root string) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	defer func() { _ = proc.Close() }()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("cannot list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		link, err := os.Readlink("/proc/" + name + "/root")
		if err == nil && (link == root || strings.HasPrefix(link, root+"/")) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// stillAlive describes the processes that could not be killed.
func stillAlive(root string, cause error) error {
	pids, err := processesIn(root)
	if err != nil {
		return errors.Join(cause, err)
	}
	if len(pids) == 0 {
		return nil
	}
	names := make([]string, len(pids))
	for i, pid := range pids {
		names[i] = describe(pid)
	}
	return fmt.Errorf("cannot kill all processes in the chroot: %w: left are %s", cause, strings.Join(names, ", "))
}

// describe is a process's number, name and state, e.g. "12 cat (D)".
func describe(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return fmt.Sprintf("%d (gone)", pid)
	}
	// The name is in parentheses and may hold some itself.
	open, end := strings.IndexByte(string(stat), '('), strings.LastIndexByte(string(stat), ')')
	if open < 0 || end < open || len(stat) < end+3 {
		return strconv.Itoa(pid)
	}
	return fmt.Sprintf("%d %s (%c)", pid, stat[open+1:end], stat[end+2])
}
