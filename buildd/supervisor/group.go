package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
)

// protectedScore keeps the out-of-memory killer from a supervisor as long as
// there is something else: what backends.Host starts has a score 500 above.
const protectedScore = "-500"

// groupVariable tells Run why there is no group that keeps the limits; nothing
// is told when there is one.
const groupVariable = "LPBUILDD_NO_GROUP"

// enterGroup puts this process, and sudo if that has started it, into a control
// group for the build in dir. The error says why limits are not kept. A build
// without limits does without a group.
func enterGroup(ctx context.Context, dir string) (*cgroup.Group, error) {
	limits, err := job.ReadLimits(state.Build(dir))
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

// checkGroup refuses to build without the limits that the operator wants.
func (b *build) checkGroup() error {
	if b.noGroup == "" {
		return nil
	}
	return &verdict.HostFault{
		Err:    fmt.Errorf("cannot keep the limits of the build ([limits] cpus, memory): %s", b.noGroup),
		Advice: "Run 'lpbuildd config check' on the builder; without these two keys it builds without limits.",
	}
}

// outOfMemory is why a build failed if the kernel has killed something of it for
// want of memory, nil otherwise. A build that exceeded its own limit would do so
// on every builder like this one, so it is the package's failure, which managers
// do not try again; a machine without memory is the builder's.
func (b *build) outOfMemory(ctx context.Context, err error) error {
	memory, memoryErr := b.memory(ctx, b)
	if memoryErr != nil {
		b.daemon.Warn("Cannot find out whether the memory of the build was enough", "error", memoryErr)
	}
	limit := b.request.Settings.Limits.Memory
	switch {
	case memory.Kills == 0:
		return nil
	case limit > 0 && memory.Exceeded:
		return &limitError{
			what: fmt.Sprintf("it used more memory than it may, and the kernel killed %d of its processes", memory.Kills),
			key:  "[limits] memory = " + job.FormatSize(limit),
		}
	}
	return &verdict.HostFault{
		Err:    fmt.Errorf("the machine had no memory left, and the kernel killed %d processes of the build: %w", memory.Kills, err),
		Advice: "Give the builder more memory, or let builds promise less of it: [limits] memory, memory_overcommit, reserved_memory.",
	}
}

// outOfProcesses is why a build failed if it wanted more processes than it may
// have, nil otherwise. It would on every builder like this one.
func (b *build) outOfProcesses(ctx context.Context) error {
	limit := b.request.Settings.Limits.Processes
	if limit <= 0 {
		return nil
	}
	refused, err := b.refusals(ctx, b)
	if err != nil {
		b.daemon.Warn("Cannot find out whether the build had processes enough", "error", err)
	}
	if refused == 0 {
		return nil
	}
	if _, ok := b.target.(*container); !ok {
		limit = cgroup.Fitting(limit)
	}
	return &limitError{
		what: "it started more processes than it may, and the kernel refused it more",
		key:  fmt.Sprintf("[limits] processes = %d", limit),
	}
}

// refusalsOf tells how many processes the kernel has refused to a build.
func refusalsOf(ctx context.Context, b *build) (int, error) {
	c, ok := b.target.(*container)
	if !ok {
		return cgroup.OwnRefusals()
	}
	return cgroup.RefusalsIn(func(path string) ([]byte, error) {
		return backends.ReadFile(ctx, c.Container, path, 4096)
	})
}

// memoryOf tells what happened to the memory of a build.
func memoryOf(ctx context.Context, b *build) (cgroup.Memory, error) {
	if c, ok := b.target.(*container); ok {
		return c.memory(ctx)
	}
	return cgroup.OwnMemory()
}

// memory tells what happened to the memory of a container.
func (c *container) memory(ctx context.Context) (cgroup.Memory, error) {
	return cgroup.MemoryIn(func(path string) ([]byte, error) {
		text, err := backends.ReadFile(ctx, c.Container, path, 4096)
		return text, err
	})
}
