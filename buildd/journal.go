package buildd

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// journal is everything about the build slot that must survive a crash. It is
// on disk before anyone is told of it.
type journal struct {
	State   State  `json:"state"`
	BuildID string `json:"build_id,omitempty"`
	Tag     string `json:"tag,omitempty"`
	// Accepted is when the request was.
	Accepted time.Time `json:"accepted,omitzero"`
	// ResetAfter is the boot of the machine with which the build ends, because its
	// manager resets the machine instead of calling clean(); "" for other builds.
	ResetAfter string `json:"reset_after,omitempty"`
	// Private says that the log tail must be cut as for private builds.
	Private bool `json:"private,omitempty"`
	// Inputs are the cache entries that the build uses.
	Inputs []string `json:"inputs,omitempty"`
	// PrivateInputs are those of them that must not stay when the build is gone.
	PrivateInputs []string  `json:"private_inputs,omitempty"`
	ProxyInfo     ProxyInfo `json:"proxy_info"`
	// Outcome is set in Waiting.
	Outcome *job.Outcome `json:"outcome,omitempty"`
	// Garbage are results and private inputs of earlier builds that have yet to be
	// deleted.
	Garbage []string `json:"garbage,omitempty"`
}

// attempt tells one build from another, also if both have the same id: a manager
// may give a build again.
type attempt struct {
	buildID  string
	accepted int64 // in nanoseconds
}

// attempt is that of the build in the journal.
func (j *journal) attempt() attempt { return attempt{j.BuildID, j.Accepted.UnixNano()} }

// inUse lists the cache entries that must not be evicted.
func (j *journal) inUse() []string {
	names := append([]string(nil), j.Inputs...)
	if j.Outcome != nil {
		for _, sum := range j.Outcome.FileMap {
			names = append(names, sum)
		}
		names = append(names, j.Outcome.Added...)
	}
	return names
}

// followedBy is the journal of the next build, with the garbage that it does not
// use.
func (j *journal) followedBy(next journal) journal {
	for _, sum := range j.Garbage {
		if !slices.Contains(next.Inputs, sum) {
			next.Garbage = append(next.Garbage, sum)
		}
	}
	return next
}

// wasReset says whether the machine was started anew after a build whose manager
// resets it: that manager expects an idle builder (spec: client.md sections 7, 8).
func (j *journal) wasReset() bool {
	boot, err := state.BootID()
	return j.ResetAfter != "" && err == nil && boot != j.ResetAfter
}

// forgotten is the journal without the build, whose results and private inputs
// are garbage now.
func (j *journal) forgotten() journal {
	garbage := slices.Clone(j.Garbage)
	if j.Outcome != nil {
		garbage = append(garbage, j.Outcome.Added...)
	}
	return journal{State: Idle, Garbage: append(garbage, j.PrivateInputs...)}
}

// readJournal reads the journal; a builder without one is idle.
func readJournal(folder state.Folder) (journal, error) {
	j, err := readJournalFile(folder.Journal())
	if errors.Is(err, fs.ErrNotExist) {
		return journal{State: Idle}, nil
	}
	return j, err
}

func readJournalFile(path string) (journal, error) {
	var j journal
	err := disk.ReadJSON(path, &j)
	if err == nil {
		err = j.check()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("cannot read the journal %s: %w", path, err)
	}
	return j, err
}

// check refuses what no daemon has written.
func (j *journal) check() error {
	switch j.State {
	case Idle:
	case Building, Aborting, Waiting:
		if err := checkBuildID(j.BuildID); err != nil {
			return err
		}
	default:
		return fmt.Errorf("there is no state %q", j.State)
	}
	for _, sum := range slices.Concat(j.inUse(), j.PrivateInputs, j.Garbage) {
		if err := filecache.CheckName(sum); err != nil {
			return err
		}
	}
	return nil
}

// checkEnd refuses a build that has ended in no way that a manager can be told.
func (j *journal) checkEnd() error {
	switch {
	case j.State != Waiting:
		return nil
	case j.Outcome == nil:
		return errors.New("cannot read the journal: a build has ended, and it does not say how")
	}
	return j.Outcome.Check()
}

// write makes the journal durable.
func (j *journal) write(folder state.Folder) error {
	return disk.WriteJSON(folder.Journal(), j)
}
