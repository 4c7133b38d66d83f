// Package namespace is run by root, inside the namespaces of a build, or of a visit: it
// is their process 1, and what kills everything else in them. It touches the
// namespaces' own mounts and processes, and refuses to kill anything outside.
package namespace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// gateFile is what whoever made the namespaces closes when Init may go on.
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

// awaitGate waits until whoever made the namespaces has written down who this process is.
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

// SurviveBrokenPipes makes a write to standard error fail, instead of killing
// this process, when whoever reads the daemon's log is gone. Unlike an ignored
// signal this is not inherited by the build.
func SurviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }
