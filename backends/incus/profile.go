package incus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/lxc/incus/v6/shared/api"
)

// profileText describes the profiles of builds, and marks them.
const profileText = "a build of lpbuildd"

// modernLXC is the first version of LXC with today's names of settings.
const modernLXC = 3

// rawLXC is the value of raw.lxc: settings of the container that LXD and Incus
// have no names for (spec: backends.md section 6).
func rawLXC(major int, arch string, host, address netip.Prefix) string {
	lines := []string{
		"lxc.autodev=0",
		"lxc.cap.drop=",
		"lxc.cap.drop=sys_time sys_module",
		"lxc.cgroup.devices.allow=",
		"lxc.cgroup.devices.deny=",
		"lxc.cgroup2.devices.allow=",
		"lxc.cgroup2.devices.deny=",
		"lxc.mount.auto=",
		"lxc.mount.auto=proc:rw sys:rw",
		"lxc.mount.entry=udev /dev devtmpfs rw,nosuid,relatime,mode=755,inode64",
	}
	apparmor, network, ipv4 := "lxc.apparmor.profile", "lxc.net.0", ".ipv4.address="
	if major < modernLXC {
		apparmor, network, ipv4 = "lxc.aa_profile", "lxc.network.0", ".ipv4="
	}
	lines = append(lines, apparmor+"=unconfined")
	if address.IsValid() {
		lines = append(lines, network+ipv4+address.String(), network+".ipv4.gateway="+host.Addr().String())
	}
	if arch == "powerpc" {
		lines = append(lines, "lxc.seccomp=")
	}
	// Sorted by key, then value: "=" is not the least byte of a key.
	slices.SortFunc(lines, func(a, b string) int {
		ak, av, _ := strings.Cut(a, "=")
		bk, bv, _ := strings.Cut(b, "=")
		return cmp.Or(strings.Compare(ak, bk), strings.Compare(av, bv))
	})
	return strings.Join(lines, "\n") + "\n"
}

// profileFor is what a build's container is made with. Extra are the files of the
// host that drivers of graphics processors need.
func profileFor(cfg Config, name string, major int, extra []string) api.ProfilesPost {
	devices := map[string]map[string]string{}
	if cfg.Bridge != "" {
		devices["eth0"] = map[string]string{"type": "nic", "nictype": "bridged", "parent": cfg.Bridge, "name": "eth0"}
	}
	if major >= modernLXC {
		devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": cfg.Pool}
	}
	for i, path := range extra {
		if !strings.HasPrefix(path, "/dev/") {
			devices["nvidia-"+strconv.Itoa(i)] = map[string]string{"type": "disk", "path": path, "source": path}
		}
	}
	config := map[string]string{
		"security.privileged": "true",
		"security.nesting":    "true",
		"raw.lxc":             rawLXC(major, cfg.Arch, cfg.HostAddress, cfg.Address),
	}
	maps.Copy(config, limits(cfg))
	return api.ProfilesPost{
		Name: name,
		ProfilePut: api.ProfilePut{
			Description: profileText,
			Config:      config,
			Devices:     devices,
		},
	}
}

// limits are the settings for what a container may use: a share of the time of
// all processors, memory, which it must not evade into swap space, and processes.
func limits(cfg Config) map[string]string {
	out := map[string]string{}
	const period = 100 // milliseconds
	if cfg.CPUs > 0 {
		quota := max(1, int(math.Round(cfg.CPUs*period)))
		out["limits.cpu.allowance"] = fmt.Sprintf("%dms/%dms", quota, period)
	}
	if cfg.Memory > 0 {
		out["limits.memory"] = strconv.FormatInt(cfg.Memory, 10)
		out["limits.memory.swap"] = "false"
	}
	if cfg.Processes > 0 {
		out["limits.processes"] = strconv.FormatInt(cfg.Processes, 10)
	}
	return out
}

// deleteProfile deletes a profile. A missing one is fine.
func deleteProfile(ctx context.Context, s *server, name string) error {
	err := tell(ctx, s, "delete the profile", func(e engine) error { return e.DeleteProfile(name) })
	if missing(err) {
		return nil
	}
	return err
}
