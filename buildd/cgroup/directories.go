package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// folder holds all groups of this machine, so that they can have limits
// together.
const folder = "lpbuildd"

// period is the time, in microseconds, for which the kernel counts processors.
const period = 100_000

// leastQuota is the least that the kernel takes.
const leastQuota = 1000

// controller is a controller of the kernel.
type controller struct {
	name string
	// wanted says whether limits need it.
	wanted func(Limits) bool
	// files are what limits a group, in the order in which they are written.
	files func(l Limits, unified bool) []file
	// soft says that builds do without what the machine does not have.
	soft bool
}

// file is a file of a group. An optional one may be missing.
type file struct {
	name, value string
	optional    bool
}

func controllers() []controller {
	return []controller{
		{name: "cpu", wanted: func(l Limits) bool { return l.CPUs > 0 }, files: cpuFiles},
		{name: "memory", wanted: func(l Limits) bool { return l.Memory > 0 }, files: memoryFiles},
		{name: "pids", wanted: func(l Limits) bool { return l.Processes > 0 }, files: pidsFiles, soft: true},
	}
}

func cpuFiles(l Limits, unified bool) []file {
	quota := max(leastQuota, int64(math.Round(l.CPUs*period)))
	limited := l.CPUs > 0
	switch {
	case unified && limited:
		return []file{{name: "cpu.max", value: fmt.Sprintf("%d %d", quota, period)}}
	case unified:
		return []file{{name: "cpu.max", value: "max"}}
	case !limited:
		quota = -1
	}
	return []file{
		{name: "cpu.cfs_period_us", value: strconv.Itoa(period)},
		{name: "cpu.cfs_quota_us", value: strconv.FormatInt(quota, 10)},
	}
}

// memoryFiles limits memory and forbids to evade that into swap space.
func memoryFiles(l Limits, unified bool) []file {
	bytes := strconv.FormatInt(l.Memory, 10)
	limited := l.Memory > 0
	switch {
	case unified && limited:
		return []file{{name: "memory.max", value: bytes}, {name: "memory.swap.max", value: "0", optional: true}}
	case unified:
		return []file{{name: "memory.max", value: "max"}, {name: "memory.swap.max", value: "max", optional: true}}
	case limited:
		return []file{{name: "memory.limit_in_bytes", value: bytes}, {name: "memory.memsw.limit_in_bytes", value: bytes, optional: true}}
	}
	return []file{{name: "memory.memsw.limit_in_bytes", value: "-1", optional: true}, {name: "memory.limit_in_bytes", value: "-1"}}
}

func pidsFiles(l Limits, _ bool) []file {
	if l.Processes <= 0 {
		return []file{{name: "pids.max", value: "max"}}
	}
	return []file{{name: "pids.max", value: strconv.FormatInt(l.Processes, 10)}}
}

// enterDirectories is Enter without systemd.
func enterDirectories(cfg Config, pids []int) (*Group, error) {
	Sweep()
	g := &Group{pids: pids}
	for _, c := range controllers() {
		if !c.wanted(cfg.Build) && !c.wanted(cfg.Total) {
			continue
		}
		h, err := find(c.name)
		if err == nil {
			err = g.enter(h, c, cfg)
		}
		if err != nil && c.soft {
			g.Unkept = err
			continue
		}
		if err != nil {
			return g, errors.Join(fmt.Errorf("cannot limit what the build uses: %w", err), g.Leave())
		}
	}
	return g, nil
}

// enter makes the directory for one controller and moves the processes there.
// Others who sweep may remove a directory that has nobody in it yet.
func (g *Group) enter(h hierarchy, c controller, cfg Config) error {
	const attempts = 10
	for attempt := 1; ; attempt++ {
		err := g.tryToEnter(h, c, cfg)
		vanished := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV)
		if !vanished || attempt == attempts {
			return err
		}
	}
}

func (g *Group) tryToEnter(h hierarchy, c controller, cfg Config) error {
	parent := filepath.Join(h.dir, folder)
	dir := filepath.Join(parent, prefix+cfg.Name)
	if err := makeDirectories(h, c.name, dir); err != nil {
		return err
	}
	if err := write(parent, c.files(cfg.Total, h.unified)); err != nil {
		return err
	}
	if !slices.Contains(g.dirs, dir) {
		g.dirs, g.homes = append(g.dirs, dir), append(g.homes, h.dir)
	}
	if err := write(dir, c.files(cfg.Build, h.unified)); err != nil {
		return err
	}
	return move(g.pids, dir)
}

// makeDirectories makes the directory of a group and the one of all groups.
func makeDirectories(h hierarchy, controller, dir string) error {
	parent := filepath.Dir(dir)
	// What makes a controller work in the groups below.
	var pass []file
	if h.unified {
		pass = []file{{name: "cgroup.subtree_control", value: "+" + controller}}
	}
	return errors.Join(write(h.dir, pass), makeDirectory(parent), write(parent, pass), makeDirectory(dir))
}

func makeDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // as all groups
		return err
	}
	return nil
}

// write writes to files of a group.
func write(dir string, files []file) error {
	for _, f := range files {
		// Not created: outside of a hierarchy there would be no limit.
		to, err := os.OpenFile(filepath.Join(dir, f.name), os.O_WRONLY, 0)
		if f.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = to.WriteString(f.value)
		if err = errors.Join(err, to.Close()); err != nil {
			return fmt.Errorf("cannot write %q: %w", f.value, err)
		}
	}
	return nil
}

// move moves processes into a group.
func move(pids []int, dir string) error {
	for _, pid := range pids {
		if err := write(dir, []file{{name: "cgroup.procs", value: strconv.Itoa(pid)}}); err != nil {
			return err
		}
	}
	return nil
}

// Leave moves the processes back to where they were, and removes the group. A
// scope ends by itself.
func (g *Group) Leave() error {
	var errs []error
	for i, dir := range g.dirs {
		errs = append(errs, move(g.pids, g.homes[i]), os.Remove(dir))
		_ = os.Remove(filepath.Dir(dir)) // unless others build
	}
	return errors.Join(errs...)
}

// Sweep removes the directories of groups that nobody is in any more, as a
// crash leaves them. The kernel keeps the others.
func Sweep() {
	for _, c := range controllers() {
		h, err := find(c.name)
		if err != nil {
			continue
		}
		parent := filepath.Join(h.dir, folder)
		left, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
		for _, dir := range left {
			_ = os.Remove(dir)
		}
		_ = os.Remove(parent)
	}
}
