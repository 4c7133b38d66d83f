package cgroup

// Limits are what processes may use together; 0 is no limit.
type Limits struct {
	// CPUs is a number of processors, also parts of one.
	CPUs float64
	// Memory is in bytes.
	Memory int64
	// Processes is a number of processes and threads. It is kept where that is
	// possible.
	Processes int64
}

// none says that nothing is limited.
func (l Limits) none() bool { return l.CPUs <= 0 && l.Memory <= 0 && l.Processes <= 0 }

// Config describes the group of a build.
type Config struct {
	// Name tells the group from all others on this machine, now and later. It is
	// made of letters, digits and dashes.
	Name string
	// Build are the limits of the group, Total those of all groups that this
	// package makes on this machine together.
	Build, Total Limits
}

// Group is a group with processes in it.
type Group struct {
	// Unkept is why the number of processes is not limited as it should be; nil
	// if it is.
	Unkept error

	pids  []int
	dirs  []string // of the group, none for a scope
	homes []string // where the processes were before, for each of dirs
}
