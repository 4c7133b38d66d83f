package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/job"
)

// process names a process for good: process numbers are used again, a number
// together with the time of its start is not, until the machine starts anew.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
	Boot  string `json:"boot"`
}

// identify describes a process. Of one that is dead and waits for its parent to
// notice, only the first thread may be.
func identify(pid int) (process, error) {
	fields, err := stat(pid)
	if err != nil {
		return process{}, err
	}
	boot, err := job.BootID()
	if err != nil {
		return process{}, err
	}
	return process{PID: pid, Start: fields[startField], Boot: boot}, nil
}

// deathWait is how long a killed supervisor may take to die. Its namespaces,
// with all that is in them, go first.
const deathWait = 20 * time.Second

// handle is a file descriptor that stands for the process whatever becomes of
// its number, -1 if the process is gone. The caller closes it.
func (p process) handle() (int, error) {
	boot, err := job.BootID()
	if p.PID <= 0 || err == nil && boot != p.Boot {
		return -1, nil
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("cannot watch process %d: %w", p.PID, err)
	}
	// Looked at afterwards: as long as the number is its own, so is the descriptor.
	if fields, err := stat(p.PID); err != nil || fields[startField] != p.Start {
		return -1, unix.Close(fd)
	}
	return fd, nil
}

// signal sends a signal to the process if it still is the one it was.
func (p process) signal(s unix.Signal) error {
	fd, err := p.handle()
	if err != nil || fd < 0 {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot send a signal to process %d: %w", p.PID, err)
	}
	return nil
}

// kill kills the process if it still is the one it was, and waits for its end:
// that of its last thread. The first one may be dead long before, and what the
// others hold, as the namespace of a process 1, lives as long as they do.
func (p process) kill(ctx context.Context) error {
	fd, err := p.handle()
	if err != nil || fd < 0 {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot kill process %d: %w", p.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, deathWait)
	defer cancel()
	if err := ended(ctx, fd); err != nil {
		return fmt.Errorf("process %d, which belongs to a build, does not die: %w", p.PID, err)
	}
	return nil
}

// ended waits until the process of a handle has ended.
func ended(ctx context.Context, fd int) error {
	const glance = 100 // milliseconds; in between, ctx is looked at
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, glance) //nolint:gosec // descriptors are small
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return context.Cause(ctx)
}

// ask asks the process to end, if it still is the one it was.
func (p process) ask() { _ = p.signal(unix.SIGTERM) } // or it is killed

// Fields of /proc/<pid>/stat after the name, see proc(5).
const (
	stateField  = 0
	parentField = 1
	startField  = 19
)

// stat returns the fields of /proc/<pid>/stat after the name.
func stat(pid int) ([]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) <= startField {
		return nil, fmt.Errorf("cannot read /proc/%d/stat: too few fields", pid)
	}
	return fields, nil
}

// dead says whether a process is only waiting for its parent to notice.
func dead(fields []string) bool { return fields[stateField] == "Z" || fields[stateField] == "X" }

// killAll kills every process of this PID namespace except process 1 and this
// one, and returns when they are gone, or with the survivors when ctx ends.
func killAll(ctx context.Context) error {
	if err := insideNamespace(); err != nil {
		return err
	}
	pause := 2 * time.Millisecond
	for {
		if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill the processes of the build: %w", err)
		}
		alive, err := survivors()
		if err != nil || len(alive) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d processes cannot be killed: %s", len(alive), strings.Join(alive, ", "))
		case <-time.After(pause):
			pause = min(2*pause, 50*time.Millisecond)
		}
	}
}

// insideNamespace makes sure that killing everything kills the build only.
func insideNamespace() error {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	one, err := os.Stat("/proc/1/exe")
	if err != nil {
		return err
	}
	if !os.SameFile(self, one) || os.Getppid() != 1 {
		return errors.New("cannot kill processes: not in a PID namespace of the build")
	}
	return nil
}

// survivors describes the other processes of this namespace that are not dead.
func survivors() ([]string, error) {
	pids, err := processes()
	if err != nil {
		return nil, err
	}
	var alive []string
	for _, pid := range pids {
		if pid == 1 || pid == os.Getpid() {
			continue
		}
		fields, err := stat(pid)
		if err != nil || dead(fields) {
			continue
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		alive = append(alive, fmt.Sprintf("%d (%s, state %s)", pid, strings.TrimSpace(string(name)), fields[stateField]))
	}
	return alive, nil
}
