//go:build integration

package cgroup_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lpbuildd/buildd/cgroup"
)

// TestDirectories moves a process into a group and out of it again.
func TestDirectories(t *testing.T) {
	if _, err := os.Lstat("/run/systemd/system"); err == nil || os.Geteuid() != 0 {
		t.Skip("needs root, and no systemd")
	}
	limits := cgroup.Limits{CPUs: 0.5, Memory: 64 << 20}
	if err := cgroup.Check(limits); err != nil {
		t.Skipf("needs control groups with limits: %v", err)
	}
	sleeper := exec.CommandContext(t.Context(), "sleep", "600")
	must(t, sleeper.Start())
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
	})
	pid := sleeper.Process.Pid
	before := groupsOf(t, pid)
	group, err := cgroup.Enter(t.Context(), cgroup.Config{Name: "test-1", Build: limits, Total: cgroup.Limits{Memory: 1 << 30}}, []int{pid})
	must(t, err)
	if n := strings.Count(groupsOf(t, pid), "/lpbuildd/lpbuildd-test-1\n"); n == 0 {
		t.Errorf("the process is in\n%s", groupsOf(t, pid))
	}
	cgroup.Sweep()
	if !exists("lpbuildd-test-1") {
		t.Error("a group that is in use was removed")
	}
	must(t, group.Leave())
	if got := groupsOf(t, pid); got != before {
		t.Errorf("the process is in\n%s, was in\n%s", got, before)
	}
	if exists("lpbuildd-test-1") {
		t.Error("the group is still there")
	}
}

// TestSweep removes what a crash has left.
func TestSweep(t *testing.T) {
	if _, err := os.Lstat("/run/systemd/system"); err == nil || os.Geteuid() != 0 {
		t.Skip("needs root, and no systemd")
	}
	if err := cgroup.Check(cgroup.Limits{CPUs: 1, Memory: 1}); err != nil {
		t.Skipf("needs control groups with limits: %v", err)
	}
	sleeper := exec.CommandContext(t.Context(), "sleep", "600")
	must(t, sleeper.Start())
	_, err := cgroup.Enter(t.Context(), cgroup.Config{Name: "test-2", Build: cgroup.Limits{CPUs: 1, Memory: 64 << 20}}, []int{sleeper.Process.Pid})
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	must(t, err)
	if !exists("lpbuildd-test-2") {
		t.Error("there is no group")
	}
	cgroup.Sweep()
	if exists("lpbuildd-test-2") {
		t.Error("the group is still there")
	}
}

func groupsOf(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	must(t, err)
	return string(data)
}

func exists(name string) (found bool) {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(_ string, d os.DirEntry, err error) error {
		found = found || err == nil && d.Name() == name
		return nil
	})
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
