package chroot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"lpbuildd/buildd/state"
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
	pids, err := state.Processes()
	return slices.DeleteFunc(pids, func(pid int) bool {
		link, err := os.Readlink(fmt.Sprintf("/proc/%d/root", pid))
		return err != nil || link != root && !strings.HasPrefix(link, root+"/")
	}), err
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
	s, err := state.ReadStat(pid)
	if err != nil {
		return fmt.Sprintf("%d (gone)", pid)
	}
	return fmt.Sprintf("%d %s (%s)", pid, s.Name, s.State)
}
