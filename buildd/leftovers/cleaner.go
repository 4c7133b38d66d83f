// Package leftovers is run by root, outside the namespaces to clean up, inside them
// when a build begins: it undoes what dead builds have left behind, what stands in
// their ledgers and what these do not name. It deletes build directories, files of
// schroot, results without an outcome, kept builds and what container engines have
// of this builder, after a look whether they are its own; it ends no build.
package leftovers

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// Damaged is what the log says of a state that was read in part.
const Damaged = "What cannot be read is set aside, and the clean-up goes on with what it finds"

// Cleaner undoes what dead builds have left.
type Cleaner struct {
	// Dir is the folder of the build, Builder what is known of where to look.
	Dir     state.Build
	Builder job.Builder
	Log     *slog.Logger
	// Report is told of everything that cannot be read.
	Report func(error)
	// KeepResults leaves results in the file cache.
	KeepResults bool

	damaged bool // Report was called
	// stays is why something in the engine does. The others stay then too: that one
	// uses them, or the engine hangs, and nobody should have to wait for each.
	stays error
}

func (c *Cleaner) note(err error) {
	c.damaged = true
	c.Report(err)
}

// engine is how the engine of the last build is reached, or else that of the next.
func (c *Cleaner) engine() (job.Container, error) {
	var s job.Container
	err := disk.ReadJSON(c.Dir.Container(), &s)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		c.note(err)
	}
	if c.Builder.Container == (job.Container{}) {
		return s, fmt.Errorf("cannot tell which container engine was used: %w", err)
	}
	return c.Builder.Container, nil
}
