package buildd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"lpbuildd/buildd/aside"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// files are the daemon's own files, beside the journal: those of the build that
// runs, and what earlier ones have left. It has no state; who calls when is the
// slot's business.
type files struct {
	state state.Folder
	build state.Build // of the build that runs
	log   *slog.Logger
}

func newFiles(folder state.Folder, log *slog.Logger) *files {
	return &files{state: folder, build: folder.Build(), log: log}
}

// isLeft says whether a build left something of this name.
func isLeft(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// makeFolder makes the folder of builds.
func (f *files) makeFolder() error {
	if info, err := os.Lstat(f.build.Path()); err == nil && !info.IsDir() {
		f.setAside(f.build.Path(), errors.New("it is no folder"))
	}
	if err := os.MkdirAll(f.build.Path(), 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of builds: %w", err)
	}
	return nil
}

// removeOld deletes what an earlier daemon left half done, and the raw log that the
// predecessor of this program left beside the served one (weaknesses.md D1).
func (f *files) removeOld() {
	err := os.Remove(f.state.Log() + ".unsanitized")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(disk.RemoveTemporaries(f.state.Path()), err); err != nil {
		f.log.Warn("Cannot delete old files", "error", err)
	}
}

// makeReserves keeps room for the journal and the outcome of a build, so that a
// build that fills the disk can be ended.
func (f *files) makeReserves(ctx context.Context) {
	if err := errors.Join(disk.MakeReserve(f.state.Path()), disk.MakeReserve(f.build.Path())); err != nil {
		f.log.WarnContext(ctx, "Cannot set room aside on the disk", "error", err)
	}
}

// setAside takes a file that cannot be read out of the way, and says so.
func (f *files) setAside(path string, why error) {
	to, err := aside.Move(path)
	f.log.Error("What cannot be read is set aside, and the builder goes on", "error", errors.Join(why, err), "as", to)
}

// prepare removes what is left of the last build, before the journal speaks of
// a new one: after a crash, an outcome must be that of the build in the journal.
// What stands in the place of its files and cannot be replaced is set aside.
func (f *files) prepare(ctx context.Context, accepted journal) error {
	for _, path := range []string{f.build.Socket(), f.build.Outcome()} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	for _, path := range []string{
		f.state.Log(), f.build.Limits(), f.build.Accepted(), f.build.Supervisor(), filepath.Join(f.build.Path(), disk.ReserveName),
	} {
		if odd, err := aside.MoveOdd(path); odd || err != nil {
			f.log.ErrorContext(ctx, "What is no file is set aside", "path", path, "error", err)
		}
	}
	f.makeReserves(ctx)
	accepted.State = Building
	return errors.Join(disk.RemoveTemporaries(f.build.Path()), disk.WriteJSON(f.build.Accepted(), accepted))
}

// begin makes the files that a supervisor finds when it starts.
func (f *files) begin(limits job.Limits) error {
	if err := os.WriteFile(f.state.Log(), nil, 0o640); err != nil { // readable by the group of the builder
		return fmt.Errorf("cannot make the build log: %w", err)
	}
	return job.WriteLimits(f.build, limits)
}

// outcome reads how a build ended; fs.ErrNotExist, if it did not.
func (f *files) outcome(buildID string) (job.Outcome, error) {
	o, err := job.ReadOutcome(f.build)
	for _, sum := range slices.Concat(o.Added, slices.Collect(maps.Values(o.FileMap))) {
		err = errors.Join(err, filecache.CheckName(sum))
	}
	if err == nil && o.BuildID != buildID {
		err = fmt.Errorf("the outcome is that of the build %q: %w", o.BuildID, fs.ErrNotExist)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.log.Error("Cannot read the outcome of the build", "error", err)
	}
	return o, err
}

// reconstruct is the journal as what else there is tells: a build that was
// accepted and not yet cleaned. Its outcome, or its supervisor, is then found as
// after each start.
func (f *files) reconstruct() journal {
	path := f.build.Accepted()
	j, err := readJournalFile(path)
	switch {
	case err == nil && j.State == Building:
		return j
	case errors.Is(err, fs.ErrNotExist):
		return journal{State: Idle}
	}
	f.setAside(path, err)
	if o, err := job.ReadOutcome(f.build); err == nil {
		return journal{State: Building, BuildID: o.BuildID, Accepted: time.Now()}
	}
	return journal{State: Idle}
}
