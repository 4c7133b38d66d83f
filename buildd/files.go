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
	"lpbuildd/filecache"
)

// buildFolder is the folder of the running build, in the state folder.
const buildFolder = "build"

// files are the daemon's own files, beside the journal: those of the build that
// runs, and what earlier ones have left. It has no state; who calls when is the
// slot's business.
type files struct {
	cache string // folder of the file cache
	state string // folder of the journal
	dir   string // folder of the running build
	log   *slog.Logger
}

func newFiles(cache *filecache.Cache, log *slog.Logger) *files {
	state := cache.StateDir()
	return &files{cache: cache.Dir(), state: state, dir: filepath.Join(state, buildFolder), log: log}
}

// buildLog is where the log of the build is.
func (f *files) buildLog() string { return filepath.Join(f.cache, "buildlog") }

// journal is where the journal is.
func (f *files) journal() string { return filepath.Join(f.state, journalName) }

// build is the path of a file in the folder of the build.
func (f *files) build(name string) string { return filepath.Join(f.dir, name) }

// left says whether a build left this file in its folder.
func (f *files) left(name string) bool {
	_, err := os.Lstat(f.build(name))
	return err == nil
}

// makeFolder makes the folder of builds.
func (f *files) makeFolder() error {
	if info, err := os.Lstat(f.dir); err == nil && !info.IsDir() {
		f.setAside(f.dir, errors.New("it is no folder"))
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return fmt.Errorf("cannot make the folder of builds: %w", err)
	}
	return nil
}

// removeOld deletes what an earlier daemon left half done, and the raw log that the
// predecessor of this program left beside the served one (weaknesses.md D1).
func (f *files) removeOld() {
	err := os.Remove(f.buildLog() + ".unsanitized")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(job.RemoveTemporaries(f.state), err); err != nil {
		f.log.Warn("Cannot delete old files", "error", err)
	}
}

// makeReserves keeps room for the journal and the outcome of a build, so that a
// build that fills the disk can be ended.
func (f *files) makeReserves(ctx context.Context) {
	if err := errors.Join(job.MakeReserve(f.state), job.MakeReserve(f.dir)); err != nil {
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
	for _, name := range []string{job.SocketName, job.OutcomeName} {
		if err := os.RemoveAll(f.build(name)); err != nil {
			return err
		}
	}
	paths := []string{f.buildLog()}
	for _, name := range []string{job.LimitsName, job.AcceptedName, job.SupervisorName, job.ReserveName} {
		paths = append(paths, f.build(name))
	}
	for _, path := range paths {
		if odd, err := aside.MoveOdd(path); odd || err != nil {
			f.log.ErrorContext(ctx, "What is no file is set aside", "path", path, "error", err)
		}
	}
	f.makeReserves(ctx)
	accepted.State = Building
	return errors.Join(job.RemoveTemporaries(f.dir), job.WriteFile(f.build(job.AcceptedName), accepted))
}

// begin makes the files that a supervisor finds when it starts.
func (f *files) begin(limits job.Limits) error {
	if err := os.WriteFile(f.buildLog(), nil, 0o640); err != nil { //nolint:gosec // readable by the group of the builder
		return fmt.Errorf("cannot make the build log: %w", err)
	}
	return job.WriteLimits(f.dir, limits)
}

// outcome reads how a build ended; fs.ErrNotExist, if it did not.
func (f *files) outcome(buildID string) (job.Outcome, error) {
	o, err := job.ReadOutcome(f.dir)
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
	path := f.build(job.AcceptedName)
	j, err := readJournalFile(path)
	switch {
	case err == nil && j.State == Building:
		return j
	case errors.Is(err, fs.ErrNotExist):
		return journal{State: Idle}
	}
	f.setAside(path, err)
	if o, err := job.ReadOutcome(f.dir); err == nil {
		return journal{State: Building, BuildID: o.BuildID, Accepted: time.Now()}
	}
	return journal{State: Idle}
}
