package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// protectedScore keeps the out-of-memory killer from a supervisor as long as
// there is something else: what backends.Host starts has a score 500 above.
const protectedScore = "-500"

// enterGroup puts this process, and sudo if that has started it, into a control
// group for a build. The error says why limits are not kept. A build
// without limits does without a group.
func enterGroup(ctx context.Context, dir state.Build) (*cgroup.Group, error) {
	limits, err := job.ReadLimits(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// A daemon from before there were limits has started this program.
		limits, err = job.Limits{Instance: "default"}, nil
	}
	if err != nil {
		return &cgroup.Group{}, err
	}
	group, err := cgroup.Enter(ctx, cgroup.Config{
		Name:  limits.Instance + "-" + uuid.NewString()[:8],
		Build: cgroup.Limits{CPUs: limits.CPUs, Memory: limits.Memory, Processes: cgroup.Fitting(limits.Processes)},
		Total: cgroup.Limits{CPUs: limits.TotalCPUs, Memory: limits.TotalMemory},
	}, append(sudo(os.Getppid()), os.Getpid()))
	unkept := group.Unkept
	if err != nil && limits.CPUs == 0 && limits.Memory == 0 {
		fmt.Fprintln(os.Stderr, "lpbuildd: the build gets no control group of its own:", err)
		unkept, err = err, nil
	}
	if unkept != nil && limits.Processes > 0 {
		unkept = errors.Join(unkept, limitUser(cgroup.Fitting(limits.Processes)))
		fmt.Fprintln(os.Stderr, "lpbuildd: only the processes of the build's user are limited ([limits] processes), not all of the build:", unkept)
	}
	return group, err
}

// limitUser lets what this process starts have so many processes of one user, all
// others of that user counted. It does not hold for root, whom packages are seldom
// built by.
func limitUser(processes int64) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &l); err != nil {
		return fmt.Errorf("cannot limit the processes of a user: %w", err)
	}
	l.Max = min(l.Max, uint64(max(1, processes)))
	l.Cur = min(l.Cur, l.Max)
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &l); err != nil {
		return fmt.Errorf("cannot limit the processes of a user: %w", err)
	}
	return nil
}

// sudo lists this process and those above it as far as they are sudo: they must
// not be ended with the daemon's service, because they would end the build.
func sudo(pid int) []int {
	var pids []int
	for len(pids) < 4 {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || filepath.Base(exe) != "sudo" {
			break
		}
		s, err := state.ReadStat(pid)
		if err != nil {
			break
		}
		pids = append(pids, pid)
		pid = s.Parent
	}
	return pids
}

// protectFromOOMKiller also takes back what the daemon's service may have more:
// even a supervisor must not be the last that is killed. In a container it may
// not be allowed; then all scores are above that of the daemon.
func protectFromOOMKiller() {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(protectedScore), 0o600)
}
