// Package cgroup is run by root, outside the namespaces, and touches control
// groups, itself or through systemd: it puts a build into a control group of its
// own, with limits.
//
// Where systemd runs, the group is a transient scope in lpbuildd.slice. It is
// made even if there is nothing to limit: a build then is no part of the
// daemon's service, and nothing that happens to the service touches it.
// Elsewhere the group is a directory of each hierarchy that is needed (version 1
// or 2), below the group of the process that asks, and made only for limits.
//
// Nothing has to be written down for a crash: a scope ends with its last process,
// and the kernel refuses to remove a directory that still has one, so that Sweep
// may try all of them at any time.
package cgroup

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
)

// UnkeptVariable tells the worker of a build why there is no group that keeps the
// limits; it is not set when there is one.
const UnkeptVariable = "LPBUILDD_NO_GROUP"

// Enter makes a group and moves processes into it. Their later children are in
// it too.
func Enter(ctx context.Context, cfg Config, pids []int) (*Group, error) {
	if managed() {
		return &Group{}, enterScope(ctx, cfg, pids)
	}
	if cfg.Build.none() && cfg.Total.none() {
		return &Group{}, nil
	}
	return enterDirectories(cfg, pids)
}

// managed says whether systemd is process 1, which then owns all groups.
func managed() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// Check says whether limits can be enforced on this machine.
func Check(l Limits) error {
	var errs []error
	for _, c := range controllers() {
		if !c.wanted(l) || c.soft {
			continue
		}
		if _, err := find(c.name); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Memory is what happened to the memory of a group.
type Memory struct {
	// Kills is how many of its processes the kernel has killed for want of
	// memory, because of the group's own limit if Exceeded.
	Kills    int
	Exceeded bool
}

// OwnMemory tells about the group of this process. It is the zero value if this
// process is in no group that this package made.
func OwnMemory() (Memory, error) {
	h, err := find("memory")
	if err != nil || !h.ours() {
		return Memory{}, nil //nolint:nilerr // without the controller there is no such group
	}
	return h.memory(os.ReadFile)
}

// MemoryIn tells about the group of a container; read reads a file in it.
func MemoryIn(read func(path string) ([]byte, error)) (Memory, error) {
	m, err := hierarchy{dir: "/sys/fs/cgroup", unified: true}.memory(read)
	if err != nil {
		m, err = hierarchy{dir: "/sys/fs/cgroup/memory"}.memory(read)
	}
	return m, err
}

// OwnRefusals is how many processes the kernel has refused to the group of this
// process, because there were as many as may be. It is 0 if this process is in no
// group that this package made.
func OwnRefusals() (int, error) {
	h, err := find("pids")
	if err != nil || !h.ours() {
		return 0, nil //nolint:nilerr // without the controller there is no such group
	}
	return refusals(h.dir, os.ReadFile)
}

// RefusalsIn tells about the group of a container; read reads a file in it.
func RefusalsIn(read func(path string) ([]byte, error)) (int, error) {
	n, err := refusals("/sys/fs/cgroup", read)
	if err != nil {
		n, err = refusals("/sys/fs/cgroup/pids", read)
	}
	return n, err
}

func refusals(dir string, read func(path string) ([]byte, error)) (int, error) {
	events, err := read(dir + "/pids.events")
	return counter(events, "max"), err
}

func (h hierarchy) memory(read func(path string) ([]byte, error)) (Memory, error) {
	if h.unified {
		events, err := read(h.dir + "/memory.events")
		return Memory{Kills: counter(events, "oom_kill"), Exceeded: counter(events, "oom") > 0}, err
	}
	control, err := read(h.dir + "/memory.oom_control")
	most, mostErr := read(h.dir + "/memory.max_usage_in_bytes")
	limit, limitErr := read(h.dir + "/memory.limit_in_bytes")
	// The kernel counts in batches. Its counters of failures say nothing if there
	// is a limit for memory and swap space together.
	const batch = 1 << 20
	return Memory{
		Kills: counter(control, "oom_kill"), Exceeded: number(most)+batch >= number(limit),
	}, errors.Join(err, mostErr, limitErr)
}

// number reads a file that holds one; it is 0 if there is none.
func number(data []byte) int64 {
	n, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return n
}

// counter finds a number in lines of a name and a number.
func counter(data []byte, name string) int {
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			n, _ := strconv.Atoi(fields[1])
			return n
		}
	}
	return 0
}
