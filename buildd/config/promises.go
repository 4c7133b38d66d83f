package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"lpbuildd/backends/bridge"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
)

// Machine is what a machine has.
type Machine struct {
	CPUs float64
	// Memory is in bytes.
	Memory int64
}

// promise is what an instance promises to its build; 0 is no limit, and so no
// promise.
type promise struct {
	instance, path string
	// cache is the folder of the file cache, subnet the network of containers.
	cache  string
	subnet netip.Prefix
	cpus   float64
	memory int64
}

// LoadUsable is Load that also checks that this machine can keep what the builder
// and its neighbours, whose files are in the same folder, promise.
func LoadUsable(s Sources) (Config, []Origin, error) {
	c, origins, err := Load(s)
	if err != nil {
		return c, origins, err
	}
	all := promises(s.File, c)
	problems := overbooked(ThisMachine(), c, all)
	if err := cgroup.Check(cgroup.Limits{CPUs: c.CPULimit, Memory: c.MemoryLimit}); err != nil {
		problems = append(problems, fmt.Errorf("limits.cpus and limits.memory cannot be enforced on this machine: %w", err))
	}
	return c, slices.Concat(origins, clashes(all), strayVariables(os.Environ())), errors.Join(problems...)
}

// ThisMachine is what builds may use at most: the processors that are not kept
// from this process, and all memory.
func ThisMachine() Machine {
	m := Machine{CPUs: float64(runtime.NumCPU())}
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			m.Memory = kib << 10
		}
	}
	return m
}

// capacity is what can be promised on a machine.
func (c Config) capacity(m Machine) Machine {
	return Machine{
		CPUs:   max(0, m.CPUs-c.ReservedCPUs) * c.CPUOvercommit,
		Memory: int64(float64(max(0, m.Memory-c.ReservedMemory)) * c.MemoryOvercommit),
	}
}

// promises lists what the instance of this configuration promises, first, and
// the others whose files are beside its own. A file that cannot be understood
// promises nothing: its own daemon says why.
func promises(path string, c Config) []promise {
	all := []promise{promiseOf(path, c)}
	own, err := os.Stat(path)
	entries, dirErr := os.ReadDir(filepath.Dir(path))
	if err != nil || dirErr != nil {
		return all
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(path), e.Name())
		info, err := os.Stat(other)
		if err != nil || !isConfiguration(e.Name(), info) || os.SameFile(own, info) {
			continue
		}
		if p, ok := promiseIn(other); ok {
			all = append(all, p)
		}
	}
	return all
}

// isConfiguration says whether a file can be the configuration of an instance;
// editors and package managers leave others. debian/launchpad-buildd-generator
// says the same.
func isConfiguration(name string, info fs.FileInfo) bool {
	const reasonable = 1 << 20
	return info.Mode().IsRegular() && info.Size() <= reasonable &&
		regexp.MustCompile(`^[A-Za-z0-9:_][A-Za-z0-9:_.-]*$`).MatchString(name) && !strings.Contains(name, ".dpkg-")
}

// promiseIn reads what another instance promises.
func promiseIn(path string) (promise, bool) {
	l := newLoader()
	l.readFile(path)
	if l.unread || l.ini.file == nil || l.ini.file.section("builder") == nil {
		return promise{}, false
	}
	var c Config
	for _, s := range Settings() {
		switch s.Name() {
		case "limits.cpus", "limits.memory", "backend.instance", "backend.subnet":
			_ = s.store(&c, l.viper.GetString(s.Name())) // what is wrong stays 0
		}
	}
	c.FileCache = l.viper.GetString("builder.filecache")
	return promiseOf(path, c), true
}

// promiseOf is what the configuration of a file promises.
func promiseOf(path string, c Config) promise {
	name := cmp.Or(c.Container.Instance, instanceOf(path))
	subnet := c.Container.Subnet
	if !subnet.IsValid() {
		subnet = bridge.SubnetFor(name)
	}
	return promise{instance: name, path: path, cache: c.FileCache, subnet: subnet, cpus: c.CPULimit, memory: c.MemoryLimit}
}

// overbooked says what of the machine is promised more than once.
func overbooked(m Machine, c Config, all []promise) []error {
	var cpus float64
	var memory int64
	for _, p := range all {
		cpus += p.cpus
		memory += p.memory
	}
	var problems []error
	can := c.capacity(m)
	const rounding = 1e-6
	if cpus > can.CPUs+rounding {
		problems = append(problems, fmt.Errorf("limits.cpus: the builders of this machine promise %s processors (%s), but builds can have %s: "+
			"(%s - %s reserved) x %s; lower [limits] cpus of one of them, or raise cpu_overcommit",
			formatCPUs(cpus), byWhom(all, promise.cpuText), formatCPUs(can.CPUs),
			formatCPUs(m.CPUs), formatCPUs(c.ReservedCPUs), formatCPUs(c.CPUOvercommit)))
	}
	if memory > can.Memory {
		problems = append(problems, fmt.Errorf("limits.memory: the builders of this machine promise %s of memory (%s), but builds can have %s: "+
			"(%s - %s reserved) x %s; lower [limits] memory of one of them, or raise memory_overcommit",
			job.FormatSize(memory), byWhom(all, promise.memoryText), job.FormatSize(can.Memory),
			job.FormatSize(m.Memory), job.FormatSize(c.ReservedMemory), formatCPUs(c.MemoryOvercommit)))
	}
	return problems
}

// clashes warns of what two instances that run at the same time must not share.
// It is no error, because the other may be somebody's old copy.
func clashes(all []promise) []Origin {
	var warnings []Origin
	warn := func(p promise, key, value, advice string) {
		warnings = append(warnings, Origin{
			Key: key, Value: value, From: p.path, Warning: fmt.Sprintf("%q is that of this builder too; %s", value, advice),
		})
	}
	for _, p := range all[1:] {
		if p.instance == all[0].instance {
			warn(p, "backend.instance", p.instance, "give one of them another name")
		} else if p.subnet.Overlaps(all[0].subnet) {
			warn(p, "backend.subnet", p.subnet.String(), "give the containers of one of them another network")
		}
		if filepath.Clean(p.cache) == filepath.Clean(all[0].cache) {
			warn(p, "builder.filecache", p.cache, "give each builder a cache of its own")
		}
	}
	return warnings
}

func (p promise) cpuText() string    { return formatCPUs(p.cpus) }
func (p promise) memoryText() string { return job.FormatSize(p.memory) }

// byWhom lists who promises how much.
func byWhom(all []promise, text func(promise) string) string {
	var parts []string
	for _, p := range all {
		if amount := text(p); amount != "0" {
			parts = append(parts, p.instance+": "+amount)
		}
	}
	return strings.Join(parts, ", ")
}

// Limits are the limits of the builds of this instance, and of all builds
// together: what is reserved is reserved whatever was promised.
func (c Config) Limits(m Machine) job.Limits {
	l := job.Limits{Instance: c.Container.Instance, CPUs: c.CPULimit, Memory: c.MemoryLimit, Processes: int64(c.ProcessLimit)}
	if c.ReservedCPUs > 0 {
		l.TotalCPUs = max(leastCPUs, m.CPUs-c.ReservedCPUs)
	}
	if c.ReservedMemory > 0 {
		l.TotalMemory = max(leastMemory, m.Memory-c.ReservedMemory)
	}
	return l
}

// leastCPUs and leastMemory are what builds get together even if everything is
// reserved.
const (
	leastCPUs   = 0.1
	leastMemory = 64 << 20
)

// ReportLimits logs what a build may use, and how much of the machine the
// builders on it promise.
func ReportLimits(log *slog.Logger, path string, c Config) {
	orNone := func(text string) string {
		if text == "0" {
			return "no limit"
		}
		return text
	}
	all, can := promises(path, c), c.capacity(ThisMachine())
	log.Info("Limits of a build",
		"cpus", orNone(all[0].cpuText()), "memory", orNone(all[0].memoryText()),
		"capacity_cpus", formatCPUs(can.CPUs), "capacity_memory", job.FormatSize(can.Memory),
		"promised_cpus", byWhom(all, promise.cpuText), "promised_memory", byWhom(all, promise.memoryText))
}

// formatCPUs writes a number with three decimals at most.
func formatCPUs(n float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(n, 'f', 3, 64), "0"), ".")
}
