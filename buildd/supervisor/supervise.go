package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
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
	group, groupErr := enterGroup(ctx, dir)
	// The parent-death signal is tied to the thread that forks.
	runtime.LockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", RoleInit)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
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
	_ = os.Stdin.Close()
	p, err := identify(cmd.Process.Pid)
	if err == nil {
		err = job.WriteFile(job.SupervisorName, p)
	}
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	return errors.Join(err, cmd.Wait(), group.Leave())
}

// Init is process 1 of the build's namespaces: it makes their mounts private,
// starts the role that is the worker, and reaps every process until that ends.
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

// exitCodeOf is the exit code, or 128 plus the number of the signal.
func exitCodeOf(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
