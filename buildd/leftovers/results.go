package leftovers

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// removeResults removes the results of a dead build from the file cache, unless
// its outcome was written: then only their list goes, which the build was killed too
// soon to remove. Their records go, too: the daemon that cleans its cache at its start
// may have been quicker than this.
func (c *Cleaner) removeResults() error {
	path := c.Dir.Results()
	if c.KeepResults {
		return nil
	}
	if _, err := os.Lstat(c.Dir.Outcome()); err == nil {
		return disk.Remove(path)
	}
	list, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.note(fmt.Errorf("cannot read what results a dead build has brought: %w", err))
		return disk.Remove(path)
	}
	data, err := io.ReadAll(io.LimitReader(list, maxResultList))
	if err = errors.Join(err, list.Close()); err != nil {
		c.note(fmt.Errorf("cannot read what results a dead build has brought: %w", err))
	}
	var errs []error
	for line := range strings.Lines(string(data)) {
		// One that was cut off, or damaged, names nothing.
		if sum, whole := strings.CutSuffix(line, "\n"); whole && filecache.IsSHA1(sum) {
			for _, path := range filecache.Paths(sum) {
				errs = append(errs, disk.Remove(filepath.Join(c.Dir.State().Cache(), path)))
			}
		}
	}
	return errors.Join(append(errs, disk.Remove(path))...)
}

// maxResultList is more than the names of all results that a build may have.
const maxResultList = 256 << 20
