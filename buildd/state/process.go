package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names a process for good: process numbers are used again, a number
// together with the time of its start is not, until the machine starts anew.
type Process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
	Boot  string `json:"boot"`
}

// Identify describes a process. Of one that is dead and waits for its parent to
// notice, only the first thread may be.
func Identify(pid int) (Process, error) {
	s, err := ReadStat(pid)
	if err != nil {
		return Process{}, err
	}
	boot, err := BootID()
	if err != nil {
		return Process{}, err
	}
	return Process{PID: pid, Start: s.Start, Boot: boot}, nil
}

// BootID tells one start of the machine from all others. LXD and Incus give each
// start of a container its own.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}

// Gone says whether the process is certainly dead, though its parent may not have
// noticed. Where processes of others cannot be seen nothing is certain.
func (p Process) Gone() bool {
	boot, err := BootID()
	if err != nil || p.PID <= 1 {
		return false
	}
	if _, err := ReadStat(1); err != nil {
		return false
	}
	if boot != p.Boot {
		return true
	}
	s, err := ReadStat(p.PID)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return s.Dead() || s.Start != p.Start
}

// handle is a file descriptor that stands for the process whatever becomes of
// its number, -1 if the process is gone. The caller closes it.
func (p Process) handle() (int, error) {
	boot, err := BootID()
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
	if s, err := ReadStat(p.PID); err != nil || s.Start != p.Start {
		return -1, unix.Close(fd)
	}
	return fd, nil
}

// AskToEnd sends SIGTERM to the process, if it still is the one it was.
func (p Process) AskToEnd() error {
	return p.signalled(unix.SIGTERM, func(int) error { return nil })
}

// DeathWait is how long a killed process may take to die. The namespaces of a
// supervisor, with all that is in them, go first.
const DeathWait = 20 * time.Second

// Kill kills the process if it still is the one it was, and waits for its end:
// that of its last thread. The first one may be dead long before, and what the
// others hold, as the namespace of a process 1, lives as long as they do.
func (p Process) Kill(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DeathWait)
	defer cancel()
	return p.signalled(unix.SIGKILL, func(fd int) error {
		if err := ended(ctx, fd); err != nil {
			return fmt.Errorf("process %d, which belongs to a build, does not die: %w", p.PID, err)
		}
		return nil
	})
}

// signalled sends a signal to the process, if it is there, and does something with
// its handle then.
func (p Process) signalled(s unix.Signal, then func(fd int) error) error {
	fd, err := p.handle()
	if err != nil || fd < 0 {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot send %s to process %d: %w", unix.SignalName(s), p.PID, err)
	}
	return then(fd)
}

// ended waits until the process of a handle has ended.
func ended(ctx context.Context, fd int) error {
	const glance = 100 // milliseconds; in between, ctx is looked at
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, glance) // descriptors are small
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return context.Cause(ctx)
}

// Stat is what the kernel tells of a process in /proc/<pid>/stat.
type Stat struct {
	// Name is the program's, at most 15 bytes of it.
	Name string
	// State is one letter, see proc(5).
	State string
	// Parent is the number of the parent, 0 if it is in another namespace.
	Parent int
	// Start is when it began, in a unit of the kernel's.
	Start string
}

// ReadStat looks at a process. One that is gone is fs.ErrNotExist.
func ReadStat(pid int) (Stat, error) {
	path := fmt.Sprintf("/proc/%d/stat", pid)
	data, err := os.ReadFile(path)
	if errors.Is(err, unix.ESRCH) {
		err = &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist} // it went between open and read
	}
	if err != nil {
		return Stat{}, err
	}
	s, err := parseStat(data)
	if err != nil {
		return Stat{}, fmt.Errorf("cannot understand %s: %w", path, err)
	}
	return s, nil
}

// parseStat takes the name, which is in parentheses and may hold anything, and
// fields after it.
func parseStat(data []byte) (Stat, error) {
	const stateField, parentField, startField = 0, 1, 19
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return Stat{}, errors.New("it has no name")
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) <= startField {
		return Stat{}, errors.New("it has too few fields")
	}
	parent, err := strconv.Atoi(fields[parentField])
	return Stat{Name: string(data[open+1 : end]), State: fields[stateField], Parent: parent, Start: fields[startField]}, err
}

// Processes lists the numbers of all processes of this PID namespace, in ascending
// order.
func Processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// Dead says whether a process is only waiting for its parent to notice.
func (s Stat) Dead() bool { return s.State == "Z" || s.State == "X" }

// Stopped says whether somebody has stopped it.
func (s Stat) Stopped() bool { return s.State == "T" }
