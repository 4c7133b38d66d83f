package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/state"
)

// KillAll kills every process of this PID namespace except process 1 and this
// one, and returns when they are gone, or with the Survivors when ctx ends.
func KillAll(ctx context.Context) error {
	if err := Inside(); err != nil {
		return err
	}
	pause := 2 * time.Millisecond
	for {
		if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("cannot kill the processes of the build: %w", err)
		}
		alive, err := Survivors()
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

// Inside makes sure that killing everything kills the build only.
func Inside() error {
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

// Survivors describes the other processes of this namespace that are not dead.
func Survivors() ([]string, error) {
	pids, err := state.Processes()
	if err != nil {
		return nil, err
	}
	var alive []string
	for _, pid := range pids {
		if pid == 1 || pid == os.Getpid() {
			continue
		}
		s, err := state.ReadStat(pid)
		if err != nil || s.Dead() {
			continue
		}
		alive = append(alive, fmt.Sprintf("%d (%s, state %s)", pid, s.Name, s.State))
	}
	return alive, nil
}
