// Package supervise is what root does outside of the namespaces of builds: it makes
// them and starts what works inside, cleans up after the dead, empties the trash,
// takes stock of images, and leads visitors into failed builds that were kept. The
// daemon's user starts it by sudo, so it looks first whose the folders are that it
// is to work in (package caller); it touches those and the container engine.
//
// Three processes of this program make a supervisor: Supervise, here, makes
// namespaces; process 1 inside (package namespace) reaps orphans; the worker (package
// build) does the work. When any of them is killed, the kernel kills everything that
// the build has started and drops its mounts. What outlives that (files) stands in a
// ledger from before it is made; Cleanup undoes the ledger (package leftovers).
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/namespace"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Supervise starts process 1 in new PID, mount and IPC namespaces, with the same
// standard input, and waits for its end. When this process dies, however it
// dies, so does everything inside.
func Supervise(ctx context.Context) error {
	dir, err := caller.WorkingFolder()
	if err != nil {
		return err
	}
	namespace.SurviveBrokenPipes()
	protectFromOOMKiller()
	if err := endLast(ctx, dir); err != nil {
		return err
	}
	group, groupErr := enterGroup(ctx, dir)
	// The parent-death signal is tied to the thread that forks.
	runtime.LockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", RoleInit)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Nothing begins before it stands on the disk who does it.
	gate, open, err := os.Pipe()
	if err != nil {
		return errors.Join(err, group.Leave())
	}
	cmd.ExtraFiles = []*os.File{gate}
	if groupErr != nil {
		cmd.Env = append(os.Environ(), cgroup.UnkeptVariable+"="+groupErr.Error())
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("cannot make the namespaces of the build (needs root): %w", err), group.Leave())
	}
	// The socket's other end must see the death of those inside, not ours.
	_, _ = os.Stdin.Close(), gate.Close()
	p, err := state.Identify(cmd.Process.Pid)
	if err == nil {
		err = disk.WriteJSON(dir.Supervisor(), p)
	}
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	_ = open.Close()
	return errors.Join(err, cmd.Wait(), group.Leave())
}

// endLast ends what still lives of the last build if it has left anything
// to undo; from then on, what others hold is theirs. One that only deletes things
// goes on, unless it is stopped.
func endLast(ctx context.Context, dir state.Build) error {
	kill := func(ctx context.Context, dir state.Build) error {
		return killChain(ctx, dir, func(err error) { fmt.Fprintln(os.Stderr, "lpbuildd:", err) })
	}
	if _, err := os.Lstat(dir.Ledger()); errors.Is(err, fs.ErrNotExist) {
		kill = killStopped
	}
	if err := kill(ctx, dir); err != nil {
		return fmt.Errorf("cannot end the last build: %w", err)
	}
	return nil
}
