package job

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Limits are how much of the machine a build may use; 0 is no limit. They have a
// file of their own, because they are needed before the request arrives, and are no
// secret.
type Limits struct {
	// Instance is the name of the builder.
	Instance string `json:"instance"`
	// CPUs and Memory (bytes) are for this build, the others for all builds on
	// this machine together.
	CPUs        float64 `json:"cpus,omitempty"`
	Memory      int64   `json:"memory,omitempty"`
	TotalCPUs   float64 `json:"total_cpus,omitempty"`
	TotalMemory int64   `json:"total_memory,omitempty"`
	// Processes is how many processes and threads this build may have at once.
	Processes int64 `json:"processes,omitempty"`
}

// MaxJobs is how many processors, of those that are there, are of use to the
// build.
func (l Limits) MaxJobs(processors int) int {
	if l.CPUs <= 0 {
		return processors
	}
	return max(1, min(processors, int(math.Ceil(l.CPUs))))
}

// check refuses limits that nobody can have meant, and names that cannot be part
// of others.
func (l Limits) check() error {
	const most = 1e6
	switch {
	case !regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$`).MatchString(l.Instance):
		return fmt.Errorf("instance: expected letters, digits and dashes, got %.80q", l.Instance)
	case !(l.CPUs >= 0 && l.CPUs <= most && l.TotalCPUs >= 0 && l.TotalCPUs <= most):
		return fmt.Errorf("cpus: expected 0 to a million, got %v of %v", l.CPUs, l.TotalCPUs)
	case l.Processes < 0:
		return fmt.Errorf("processes: expected at least 0, got %d", l.Processes)
	case l.Memory < 0 || l.TotalMemory < 0:
		return fmt.Errorf("memory: expected at least 0, got %d of %d", l.Memory, l.TotalMemory)
	}
	return nil
}

// WriteLimits writes the limits of the next build to its folder.
func WriteLimits(dir state.Build, l Limits) error { return disk.WriteJSON(dir.Limits(), l) }

// ReadLimits reads and checks what WriteLimits wrote.
func ReadLimits(dir state.Build) (Limits, error) {
	const plenty = 4096
	path := dir.Limits()
	fail := func(err error) (Limits, error) {
		return Limits{}, fmt.Errorf("cannot read the limits of the build: %s: %w", path, err)
	}
	data, err := disk.ReadFile(path, plenty)
	if err != nil {
		return fail(err)
	}
	var l Limits
	if err := json.Unmarshal(data, &l); err != nil {
		return fail(err)
	}
	if err := l.check(); err != nil {
		return fail(err)
	}
	return l, nil
}

// FormatSize writes a size as it may stand in the configuration, with the
// largest unit of which it is a whole number, or has at least ten.
func FormatSize(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i, unit := range []string{"K", "M", "G", "T"} {
		size := int64(1) << (10 * (i + 1))
		if n != 0 && (n%size == 0 || n >= 10*size) {
			text = strconv.FormatInt(n/size, 10) + unit
		}
	}
	return text
}
