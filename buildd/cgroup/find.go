package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// prefix is how the names of all groups begin.
const prefix = "lpbuildd-"

// hierarchy is where a controller is.
type hierarchy struct {
	dir     string // of this process's group
	unified bool   // version 2
}

// ours says whether this process's group is one that this package made.
func (h hierarchy) ours() bool { return strings.HasPrefix(filepath.Base(h.dir), prefix) }

// find finds a controller: in the unified hierarchy if it has it, else in one of
// version 1.
func find(controller string) (hierarchy, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return hierarchy{}, fmt.Errorf("cannot list the mounts: %w", err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return hierarchy{}, fmt.Errorf("cannot find the control group of this process: %w", err)
	}
	return locate(controller, mounts, string(own), func(mount string) string {
		data, _ := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
		return string(data)
	})
}

// locate is find for these mounts, the text of /proc/self/cgroup and what the
// file of controllers at the top of a unified hierarchy says.
func locate(controller string, mounts []*mountinfo.Info, own string, available func(mount string) string) (hierarchy, error) {
	var old *hierarchy
	for _, m := range mounts {
		unified := m.FSType == "cgroup2"
		if unified && !slices.Contains(strings.Fields(available(m.Mountpoint)), controller) {
			continue
		}
		if !unified && !slices.Contains(strings.Split(m.VFSOptions, ","), controller) {
			continue
		}
		path, ok := groupOf(own, controller, unified)
		if !ok {
			continue
		}
		// What is mounted may be a part of the hierarchy.
		path = strings.TrimPrefix(path, strings.TrimSuffix(m.Root, "/"))
		h := hierarchy{dir: filepath.Join(m.Mountpoint, path), unified: unified}
		if unified {
			return h, nil
		}
		old = &h
	}
	if old != nil {
		return *old, nil
	}
	return hierarchy{}, fmt.Errorf("the kernel has no control groups for %s here (is it disabled on the kernel's command line, "+
		"or kept from this container?); remove the limit, or provide them", controller)
}

// groupOf reads the lines of /proc/self/cgroup: a number, controllers, a path.
func groupOf(own, controller string, unified bool) (path string, ok bool) {
	for line := range strings.Lines(own) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		if unified && parts[0] == "0" && parts[1] == "" || !unified && slices.Contains(strings.Split(parts[1], ","), controller) {
			return parts[2], true
		}
	}
	return "", false
}
