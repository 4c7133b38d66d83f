package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// The chain of a build is what stands between the daemon and the build: sudo,
// the supervisor, its process 1 and its worker.

// killChain kills the processes of the last supervisor in folder, and sudo above
// it, except those that this process descends from. When it returns nil, none
// of them lives: whatever is held then is held by somebody else.
//
// sudo stops itself when its child is stopped, and stays so when that has died.
func killChain(ctx context.Context, folder state.Build, report func(error)) error {
	victims, err := chain(folder)
	errs := []error{err}
	var recorded state.Process
	switch err := disk.ReadJSON(folder.Supervisor(), &recorded); {
	case err == nil:
		// Only this one can be found while it dies.
		victims = append([]state.Process{recorded}, victims...)
	case !errors.Is(err, fs.ErrNotExist):
		report(err)
	}
	for _, p := range victims {
		errs = append(errs, p.Kill(ctx))
	}
	return errors.Join(errs...)
}

// killStopped kills those processes of the chain in folder that are stopped, which
// nobody would ever continue.
func killStopped(ctx context.Context, folder state.Build) error {
	all, err := chain(folder)
	errs := []error{err}
	for _, p := range all {
		if s, err := state.ReadStat(p.PID); err == nil && s.Stopped() {
			errs = append(errs, p.Kill(ctx))
		}
	}
	return errors.Join(errs...)
}

// chain finds the processes of the chain by their working directory and the
// last of their words, the outermost last.
func chain(folder state.Build) ([]state.Process, error) {
	place, err := os.Stat(folder.Path())
	if err != nil {
		return nil, err
	}
	pids, err := state.Processes()
	if err != nil {
		return nil, err
	}
	own := ancestors(os.Getpid())
	var found []state.Process
	for _, pid := range slices.Backward(pids) {
		if slices.Contains(own, pid) || !inChain(pid) || !worksIn(pid, place) {
			continue
		}
		if p, err := state.Identify(pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// ancestors are a process and those above it.
func ancestors(pid int) []int {
	var pids []int
	for pid > 0 && !slices.Contains(pids, pid) {
		pids = append(pids, pid)
		s, err := state.ReadStat(pid)
		if err != nil {
			break
		}
		pid = s.Parent
	}
	return pids
}

// inChain says whether a process was started in a role of a supervisor, or to
// start one.
func inChain(pid int) bool {
	roles := []string{RoleSupervise, RoleInit, RoleRun}
	return anyThread(pid, "cmdline", func(path string) bool {
		cmdline, err := os.ReadFile(path)
		words := strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
		return err == nil && len(words) > 1 && slices.Contains(roles, words[len(words)-1])
	})
}

// worksIn says whether the working directory of a process is folder.
func worksIn(pid int, folder fs.FileInfo) bool {
	return anyThread(pid, "cwd", func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && os.SameFile(info, folder)
	})
}

// anyThread asks about a file of each thread, since the first one may have ended.
func anyThread(pid int, name string, yes func(path string) bool) bool {
	paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", pid, name)) // fails for bad patterns only
	return slices.ContainsFunc(paths, yes)
}
