package buildd

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Drain is the wish of the operator that a builder takes no more builds. One
// that runs goes on, and its results stay until clean(). It is a file, so that the
// builder is a drained one after a restart too, and can become one while no daemon
// runs.
type Drain struct {
	// Since is when the operator said so.
	Since time.Time `json:"since"`
	// Reason is one line for people, or "".
	Reason string `json:"reason,omitempty"`
}

// DrainedText begins what a drained builder answers.
const DrainedText = "this builder is drained by its operator"

// String is what managers and people are told.
func (d Drain) String() string {
	text := DrainedText
	if !d.Since.IsZero() {
		text += " since " + d.Since.UTC().Format("2006-01-02 15:04 UTC")
	}
	if d.Reason != "" {
		text += " (" + d.Reason + ")"
	}
	return text + "; it builds again after 'lpbuildd undrain'"
}

// SetDrain drains the builder with this state folder. A builder that is drained
// already stays so for the new reason.
func SetDrain(folder state.Folder, d Drain) error {
	if err := disk.WriteJSON(folder.Drain(), d); err != nil {
		return fmt.Errorf("cannot drain the builder: %w", err)
	}
	return nil
}

// Undrain lets the builder with this state folder build again. It is false if
// the builder was not drained.
func Undrain(folder state.Folder) (bool, error) {
	path := folder.Drain()
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	// It may be anything: what is there drains the builder.
	if err := errors.Join(os.RemoveAll(path), disk.SyncDir(folder.Path())); err != nil {
		return false, fmt.Errorf("cannot let the builder build again: %w", err)
	}
	return true, nil
}

// ReadDrain returns the wish of the operator, nil without one. A file that
// cannot be read is one: what it says may matter less than that it is there.
func ReadDrain(folder state.Folder) *Drain {
	path := folder.Drain()
	if _, err := os.Lstat(path); err != nil {
		return nil
	}
	d := Drain{}
	if err := disk.ReadJSON(path, &d); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return &d
}

// drainNews tells the log when the operator changes what the builder does.
type drainNews struct {
	state state.Folder
	log   *slog.Logger
	last  atomic.Bool
}

// look reads the operator's wish, and logs it if it is new.
func (n *drainNews) look() *Drain {
	drain := ReadDrain(n.state)
	before := n.last.Swap(drain != nil)
	switch {
	case drain == nil && before:
		n.log.Info("Builder takes builds again")
	case drain != nil && !before:
		n.log.Info("Builder is drained by its operator", "since", drain.Since, "reason", drain.Reason)
	}
	return drain
}

// defaultLossTime is for how long a drained builder says after a loss that it is idle,
// from its first answer to a manager on. It is less than the 15 seconds between two questions
// of a manager, which hears it once: a second time, it would give a build.
const defaultLossTime = 14 * time.Second

// loss remembers that a build was lost in a crash. Its manager takes the build
// back only from an idle builder: a fault, again and again, would count against
// the build.
type loss struct {
	// until is 0 without a loss, untold before a manager was told of it, then
	// the end of the time in nanoseconds.
	until atomic.Int64
	time  time.Duration
}

const untold = -1

// happened notes a loss.
func (l *loss) happened() { l.until.Store(untold) }

// telling says that the loss is to be told now.
func (l *loss) telling() bool {
	until := l.until.Load()
	return until == untold || time.Now().UnixNano() < until
}

// told begins the time in which the loss is told: a manager has heard it.
func (l *loss) told() { l.until.CompareAndSwap(untold, time.Now().Add(l.time).UnixNano()) }
