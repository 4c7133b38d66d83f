package build

import (
	"context"

	"lpbuildd/backends"
	"lpbuildd/buildd/cgroup"
)

// refusalsOf tells how many processes the kernel has refused to a build.
func refusalsOf(ctx context.Context, t target) (int, error) {
	c, ok := t.(*container)
	if !ok {
		return cgroup.OwnRefusals()
	}
	return cgroup.RefusalsIn(func(path string) ([]byte, error) {
		return backends.ReadFile(ctx, c.Container, path, 4096)
	})
}

// memoryOf tells what happened to the memory of a build.
func memoryOf(ctx context.Context, t target) (cgroup.Memory, error) {
	if c, ok := t.(*container); ok {
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
