package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
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

// identify describes a running process. One that is dead and waits for its
// parent to notice does not run.
func identify(pid int) (process, error) {
	fields, err := stat(pid)
	if err != nil {
		return process{}, err
	}
	if dead(fields) {
		return process{}, fmt.Errorf("process %d is dead", pid)
	}
	boot, err := job.BootID()
	if err != nil {
		return process{}, err
	}
	return process{PID: pid, Start: fields[startField], Boot: boot}, nil
}

// alive says whether the process still is the one it was.
func (p process) alive() bool {
	now, err := identify(p.PID)
	return err == nil && now == p
}

// deathWait is how long a killed supervisor may take to die. Its namespaces,
// with all that is in them, go first.
const deathWait = 10 * time.Second

// kill kills the process if it still is the one it was, and waits for its end.
func (p process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("cannot kill the supervisor, process %d: %w", p.PID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, deathWait)
	defer cancel()
	for p.alive() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the supervisor, process %d, does not die", p.PID)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// ask asks the process to end, if it still is the one it was.
func (p process) ask() {
	if p.alive() {
		_ = unix.Kill(p.PID, unix.SIGTERM) // or it is killed
	}
}

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
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var alive []string
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == 1 || pid == os.Getpid() {
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
