package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFitting(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "container", "lpbuildd", "lpbuildd-default-0a1b2c3d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for group, limit := range map[string]string{
		top: "", filepath.Dir(filepath.Dir(dir)): "512\n", filepath.Dir(dir): "max\n", dir: "100\n",
	} {
		files := map[string]string{"cgroup.procs": "", "pids.max": limit}
		for name, text := range files {
			if name == "pids.max" && limit == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(group, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, from := range []string{dir, filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		allowed := hierarchy{dir: from}.around()
		for processes, want := range map[int64]int64{0: 0, 16384: 384, 300: 300} {
			if got := fitting(processes, allowed); got != want {
				t.Errorf("%s, %d: got %d, want %d", from, processes, got, want)
			}
		}
	}
}
