package cgroup

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Fitting is how many processes a build may really have that may have so many. It
// shares what the kernel, and the groups around its own, allow with the daemon,
// and with whatever else is there: a quarter is theirs. 0 is no limit.
func Fitting(processes int64) int64 {
	allowed := []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"}
	if h, err := find("pids"); err == nil {
		allowed = append(allowed, h.around()...)
	}
	return fitting(processes, allowed)
}

func fitting(processes int64, allowed []string) int64 {
	for _, path := range allowed {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the group at the top has none
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			processes = min(processes, max(1, n/4*3))
		}
	}
	return processes
}

// around are the files with the limits of the groups that a build shares with
// others.
func (h hierarchy) around() []string {
	dir := h.dir
	if h.ours() {
		dir = filepath.Dir(dir)
	}
	var files []string
	for dir != filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, "cgroup.procs")); err != nil {
			break
		}
		files = append(files, filepath.Join(dir, "pids.max"))
		dir = filepath.Dir(dir)
	}
	return files
}
