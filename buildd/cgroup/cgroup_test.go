package cgroup

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/moby/sys/mountinfo"
)

func mounts(lines ...string) (out []*mountinfo.Info) {
	for _, line := range lines {
		f := strings.Fields(line)
		out = append(out, &mountinfo.Info{FSType: f[0], Root: f[1], Mountpoint: f[2], VFSOptions: f[3]})
	}
	return out
}

func TestLocate(t *testing.T) {
	version1 := mounts("cgroup / /cg/cpu rw,cpu,cpuacct", "cgroup / /cg/memory rw,memory", "cgroup2 / /cg/unified rw")
	version2 := mounts("cgroup2 / /cg rw,nsdelegate")
	tests := []struct {
		name, controller string
		mounts           []*mountinfo.Info
		own, available   string
		want             string // folder and version; "" is none
	}{
		{"version 2", "memory", version2, "0::/system.slice/a.service\n", "cpuset cpu memory", "/cg/system.slice/a.service 2"},
		{"version 1", "memory", version1, "8:memory:/a:b\n0::/c\n", "", "/cg/memory/a:b 1"},
		{"controllers together", "cpu", version1, "3:cpu,cpuacct:/x\n", "", "/cg/cpu/x 1"},
		{"a name that is part of another", "cpu", mounts("cgroup / /cg/cpuset rw,cpuset"), "3:cpuset:/x\n", "", ""},
		{"both have it: the new one", "memory", version1, "8:memory:/a\n0::/c\n", "memory", "/cg/unified/c 2"},
		{"a part of the hierarchy is mounted", "memory", mounts("cgroup /docker/1 /cg/memory rw,memory"), "8:memory:/docker/1/x\n", "", "/cg/memory/x 1"},
		{"the controller is disabled", "memory", version2, "0::/a\n", "cpu", ""},
		{"nothing is mounted", "memory", nil, "0::/a\n", "memory", ""},
		{"the group of this process is unknown", "memory", version1, "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := locate(tt.controller, tt.mounts, tt.own, func(string) string { return tt.available })
			got := fmt.Sprintf("%s %d", h.dir, map[bool]int{true: 2, false: 1}[h.unified])
			if tt.want == "" {
				if err == nil || !strings.Contains(err.Error(), tt.controller) {
					t.Errorf("got %s, %v", got, err)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestOurs(t *testing.T) {
	for dir, want := range map[string]bool{
		"/cg/lpbuildd.slice/lpbuildd-default-0a1b2c3d.scope": true, "/cg/lpbuildd/lpbuildd-default-0a1b2c3d": true,
		"/cg/system.slice/lpbuildd@default.service": false, "/cg": false,
	} {
		if got := (hierarchy{dir: dir}).ours(); got != want {
			t.Errorf("%s: got %v", dir, got)
		}
	}
}

func TestMemory(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  Memory
	}{
		{"version 2, nothing happened", map[string]string{"/sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\noom_group_kill 0\n"}, Memory{}},
		{"version 2, the own limit", map[string]string{"/sys/fs/cgroup/memory.events": "max 7\noom 2\noom_kill 3\n"}, Memory{Kills: 3, Exceeded: true}},
		{"version 2, the machine", map[string]string{"/sys/fs/cgroup/memory.events": "max 0\noom 0\noom_kill 1\n"}, Memory{Kills: 1}},
		{"version 1, the own limit", map[string]string{
			"/sys/fs/cgroup/memory/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes":     "104857600\n",
			"/sys/fs/cgroup/memory/memory.max_usage_in_bytes": "104800000\n",
		}, Memory{Kills: 2, Exceeded: true}},
		{"version 1, the machine", map[string]string{
			"/sys/fs/cgroup/memory/memory.oom_control":        "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes":     "9223372036854771712\n",
			"/sys/fs/cgroup/memory/memory.max_usage_in_bytes": "104800000\n",
		}, Memory{Kills: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MemoryIn(func(path string) ([]byte, error) {
				if text, ok := tt.files[path]; ok {
					return []byte(text), nil
				}
				return nil, fs.ErrNotExist
			})
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
		})
	}
	if _, err := MemoryIn(func(string) ([]byte, error) { return nil, fs.ErrNotExist }); err == nil {
		t.Error("no error although there are no files")
	}
}

func TestRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		path, text string
		want       int
	}{
		"version 2": {"/sys/fs/cgroup/pids.events", "max 3\n", 3},
		"version 1": {"/sys/fs/cgroup/pids/pids.events", "max 1\n", 1},
		"none":      {"/sys/fs/cgroup/pids.events", "max 0\n", 0},
	} {
		got, err := RefusalsIn(func(path string) ([]byte, error) {
			if path == tt.path {
				return []byte(tt.text), nil
			}
			return nil, fs.ErrNotExist
		})
		if err != nil || got != tt.want {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
}

func TestFilesOfControllers(t *testing.T) {
	tests := []struct {
		name    string
		limits  Limits
		unified bool
		want    string
	}{
		{"version 2", Limits{CPUs: 1.5, Memory: 4096}, true, "cpu.max=150000 100000 memory.max=4096 memory.swap.max=0? pids.max=max"},
		{"version 2, processes", Limits{Processes: 7}, true, "cpu.max=max memory.max=max memory.swap.max=max? pids.max=7"},
		{"version 2, no limits", Limits{}, true, "cpu.max=max memory.max=max memory.swap.max=max? pids.max=max"},
		{"version 1", Limits{CPUs: 0.25, Memory: 4096}, false, "cpu.cfs_period_us=100000 cpu.cfs_quota_us=25000 memory.limit_in_bytes=4096 memory.memsw.limit_in_bytes=4096? pids.max=max"},
		{"version 1, no limits", Limits{}, false, "cpu.cfs_period_us=100000 cpu.cfs_quota_us=-1 memory.memsw.limit_in_bytes=-1? memory.limit_in_bytes=-1 pids.max=max"},
		{"less than the kernel takes", Limits{CPUs: 0.0001}, true, "cpu.max=1000 100000 memory.max=max memory.swap.max=max? pids.max=max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range controllers() {
				for _, f := range c.files(tt.limits, tt.unified) {
					got = append(got, f.name+"="+f.value+map[bool]string{true: "?"}[f.optional])
				}
			}
			if text := strings.Join(got, " "); text != tt.want {
				t.Errorf("got  %s\nwant %s", text, tt.want)
			}
		})
	}
}

func TestScope(t *testing.T) {
	list := func(properties []dbus.Property) string {
		var out []string
		for _, p := range properties {
			out = append(out, p.Name+"="+p.Value.String())
		}
		return strings.Join(out, " ")
	}
	got := list(scope(Config{Name: "default-0a1b2c3d", Build: Limits{CPUs: 1.5, Memory: 4 << 30, Processes: 500}}, []int{7, 8}))
	for _, want := range []string{
		`Slice="lpbuildd.slice"`, `PIDs=@au [7, 8]`, `CollectMode="inactive-or-failed"`, `Delegate=true`,
		`CPUQuotaPerSecUSec=@t 1500000`, `MemoryMax=@t 4294967296`, `MemorySwapMax=@t 0`, `TasksMax=@t 500`, `KillSignal=9`, `Before=["lpbuildd-builds.target"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	const none = "CPUQuotaPerSecUSec=@t 18446744073709551615 MemoryMax=@t 18446744073709551615 MemorySwapMax=@t 18446744073709551615"
	if got := list(limiting(Limits{})); got != none {
		t.Errorf("got %s", got)
	}
}

func TestCheckNeedsOnlyWhatIsLimited(t *testing.T) {
	if err := Check(Limits{}); err != nil {
		t.Error(err)
	}
}
