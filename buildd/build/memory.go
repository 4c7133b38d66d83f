package build

import (
	"context"
	"fmt"

	"lpbuildd/backends"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

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
