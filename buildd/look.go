package buildd

import (
	"fmt"
	"os"
	"time"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Sight is what a builder does, as its state folder tells, whether its daemon
// runs or not.
type Sight struct {
	State State
	// BuildID is empty in Idle.
	BuildID string
	// InUse are the cache entries that must stay, and so must all that were used
	// since InUseSince.
	InUse      []string
	InUseSince time.Time
}

// Look tells what the builder with this state folder does.
func Look(folder state.Folder) (Sight, error) {
	j, err := readJournal(folder)
	if err != nil {
		return Sight{}, fmt.Errorf("cannot tell what the builder does: %w", err)
	}
	s := Sight{State: j.State, InUse: j.inUse(), InUseSince: inUseSince(j.running())}
	if j.State != Idle {
		s.BuildID = j.BuildID
	}
	return s, nil
}

// recently is how long a file that was fetched or used stays in the cache in
// any case: between ensurepresent() and build() nothing else speaks for it.
const recently = 15 * time.Minute

// inUseSince is from when on every use of a file keeps it in the cache; accepted
// is when the build that runs was, the zero time without one.
func inUseSince(accepted time.Time) time.Time {
	since := time.Now()
	if !accepted.IsZero() {
		// Results are stored by the supervisor before their names are known here.
		since = accepted
	}
	return since.Add(-recently)
}

// runs says that the build has not ended.
func (j *journal) runs() bool { return j.State == Building || j.State == Aborting }

// running is when the build that runs was accepted, the zero time without one.
func (j *journal) running() time.Time {
	if j.runs() {
		return j.Accepted
	}
	return time.Time{}
}

// supervisorGone says whether the supervisor that the folder of a build names is
// certainly dead. Where processes of others cannot be seen nothing is certain, nor
// is it while the name there is that of the build before: sudo, and systemd with
// the scope of the build, may take their time before the next one is known.
func supervisorGone(dir string) bool {
	if !namedSince(dir) {
		return false
	}
	var p state.Process
	return disk.ReadJSON(state.Build(dir).Supervisor(), &p) == nil && p.Gone()
}

// namedSince says whether the supervisor was named since the build was accepted.
// Both times are the file system's.
func namedSince(dir string) bool {
	accepted, err := os.Stat(state.Build(dir).Accepted())
	if err != nil {
		return true
	}
	named, err := os.Stat(state.Build(dir).Supervisor())
	return err == nil && !named.ModTime().Before(accepted.ModTime())
}
