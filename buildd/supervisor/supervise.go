package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Names of the roles, as arguments of this program.
const (
	RoleSupervise = "supervise"
	RoleInit      = "supervise-init"
	RoleRun       = "supervise-run"
	RoleCleanup   = "cleanup"
	RoleTrash     = "empty-trash"
	RoleStock     = "stock"

	// Those of a visit to what is kept of a failed build.
	RoleVisitInit = "visit-init"
	RoleVisitRun  = "visit-run"
)

// SudoRoles are the roles that the daemon's user starts through sudo: what its
// sudo rule has to allow, and no more.
func SudoRoles() []string { return []string{RoleSupervise, RoleCleanup, RoleTrash, RoleStock} }

// Supervise starts Init in new PID, mount and IPC namespaces, with the same
// standard input, and waits for its end. When this process dies, however it
// dies, so does everything inside.
func Supervise(ctx context.Context) error {
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	surviveBrokenPipes()
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
		cmd.Env = append(os.Environ(), groupVariable+"="+groupErr.Error())
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
		err = disk.WriteJSON(state.Build(dir).Supervisor(), p)
	}
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	_ = open.Close()
	return errors.Join(err, cmd.Wait(), group.Leave())
}

// endLast ends what still lives of the last build in dir if it has left anything
// to undo; from then on, what others hold is theirs. One that only deletes things
// goes on, unless it is stopped.
func endLast(ctx context.Context, dir string) error {
	kill := func(ctx context.Context, dir string) error {
		return killChain(ctx, dir, func(err error) { fmt.Fprintln(os.Stderr, "lpbuildd:", err) })
	}
	if _, err := os.Lstat(state.Build(dir).Ledger()); errors.Is(err, fs.ErrNotExist) {
		kill = killStopped
	}
	if err := kill(ctx, dir); err != nil {
		return fmt.Errorf("cannot end the last build: %w", err)
	}
	return nil
}

// gateFile is what Supervise closes when Init may go on.
const gateFile = 3

// Init is process 1 of the build's namespaces: it makes their mounts private,
// starts the role that is the worker, once it is told to by the end of the file
// with descriptor 3, and reaps every process until that ends.
func Init(worker string, args ...string) (exitCode int, err error) {
	if os.Getpid() != 1 {
		return 1, errors.New("cannot be process 1: not in a PID namespace of its own")
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 1, fmt.Errorf("cannot make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 1, fmt.Errorf("cannot mount /proc: %w", err)
	}
	if err := awaitGate(); err != nil {
		return 1, err
	}
	argv := append([]string{"lpbuildd", worker}, args...)
	child, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return 1, fmt.Errorf("cannot start the worker: %w", err)
	}
	_ = os.Stdin.Close()
	// A build's root must not end the build by a signal to process 1. Only after
	// the start, because an ignored signal would stay ignored in the build.
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGABRT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM, unix.SIGPWR, unix.SIGSYS, unix.SIGTRAP)
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 1, fmt.Errorf("cannot wait for the worker: %w", err)
		}
		if pid == child.Pid && (status.Exited() || status.Signaled()) {
			return exitCodeOf(status), nil
		}
	}
}

// awaitGate waits until Supervise has written down who this process is.
func awaitGate() error {
	gate := os.NewFile(gateFile, "gate")
	_, err := io.Copy(io.Discard, gate)
	if err = errors.Join(err, gate.Close()); err != nil {
		return fmt.Errorf("cannot wait for the supervisor: %w", err)
	}
	return nil
}

// exitCodeOf is the exit code, or 128 plus the number of the signal.
func exitCodeOf(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
