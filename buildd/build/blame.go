package build

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// inquest finds out whether a machine, or a limit, is to blame for a failure.
type inquest struct {
	settings job.Settings
	voice    *voice
	watch    *watch
	target   target
	// memory tells what happened to the memory of the build, refusals how many
	// processes the kernel has refused to it.
	memory   func(context.Context, target) (cgroup.Memory, error)
	refusals func(context.Context, target) (int, error)
}

// blame marks a failure that is this machine's fault as such, so that it is
// never taken for the package's.
func (q *inquest) blame(ctx context.Context, err error) error {
	var fault *verdict.HostFault
	var judged *verdict.BuildError
	if errors.As(err, &fault) {
		return err
	}
	if reason := q.watch.unwritable(ctx, disk.TryToStore); reason != nil {
		return reason
	}
	if reason := q.outOfMemory(ctx, err); reason != nil {
		return reason
	}
	decided := errors.As(err, &judged)
	if decided && (judged.Outcome == verdict.DepFail || judged.Outcome == verdict.GivenBack) {
		return err // it has not come to what needs much
	}
	if reason := q.outOfProcesses(ctx); reason != nil {
		return reason
	}
	if decided && judged.Outcome != verdict.PackageFail && judged.Outcome != verdict.ChrootFail {
		return err
	}
	if left := q.fullDisk(ctx); left != "" {
		return &verdict.HostFault{
			Err:    fmt.Errorf("the disk was full (%s were free): %w", left, err),
			Advice: "Free disk space (and inodes) on the builder, or raise [chroot] tmpfs if the build's upper layer is in memory.",
		}
	}
	return err
}

// noSpace is what tools say of a full disk.
var noSpace = regexp.MustCompile("No space left on device")

// fullDisk says how little room there was if a disk was full, or "".
func (q *inquest) fullDisk(ctx context.Context) string {
	q.watch.noteRoom()
	if c, ok := q.target.(interface {
		room(context.Context) (disk.Room, error)
	}); ok {
		if room, err := c.room(ctx); err == nil {
			q.watch.least.note(room)
		}
	}
	least := q.watch.least.room()
	if left := least.Lacks(fullRoom()); left != "" {
		return left
	}
	if q.voice.mentions(noSpace) {
		return least.Lacks(shortRoom())
	}
	return ""
}

// outOfMemory is why a build failed if the kernel has killed something of it for
// want of memory, nil otherwise. A build that exceeded its own limit would do so
// on every builder like this one, so it is the package's failure, which managers
// do not try again; a machine without memory is the builder's.
func (q *inquest) outOfMemory(ctx context.Context, err error) error {
	memory, memoryErr := q.memory(ctx, q.target)
	if memoryErr != nil {
		q.voice.daemon.Warn("Cannot find out whether the memory of the build was enough", "error", memoryErr)
	}
	limit := q.settings.Limits.Memory
	switch {
	case memory.Kills == 0:
		return nil
	case limit > 0 && memory.Exceeded:
		return &limitError{
			what: fmt.Sprintf("it used more memory than it may, and the kernel killed %d of its processes", memory.Kills),
			key:  "[limits] memory = " + job.FormatSize(limit),
		}
	}
	return &verdict.HostFault{
		Err:    fmt.Errorf("the machine had no memory left, and the kernel killed %d processes of the build: %w", memory.Kills, err),
		Advice: "Give the builder more memory, or let builds promise less of it: [limits] memory, memory_overcommit, reserved_memory.",
	}
}

// outOfProcesses is why a build failed if it wanted more processes than it may
// have, nil otherwise. It would on every builder like this one.
func (q *inquest) outOfProcesses(ctx context.Context) error {
	limit := q.settings.Limits.Processes
	if limit <= 0 {
		return nil
	}
	refused, err := q.refusals(ctx, q.target)
	if err != nil {
		q.voice.daemon.Warn("Cannot find out whether the build had processes enough", "error", err)
	}
	if refused == 0 {
		return nil
	}
	if _, ok := q.target.(*container); !ok {
		limit = cgroup.Fitting(limit)
	}
	return &limitError{
		what: "it started more processes than it may, and the kernel refused it more",
		key:  fmt.Sprintf("[limits] processes = %d", limit),
	}
}
