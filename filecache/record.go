package filecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"
)

const metaSuffix = ".json"

// metaPath is the record of an entry. A name that leaves no room for the suffix
// is hashed.
func metaPath(name string) string {
	if len(name)+len(metaSuffix) > maxNameBytes {
		sum := sha256.Sum256([]byte(name))
		name = hex.EncodeToString(sum[:])
	}
	return metaName + "/" + name + metaSuffix
}

// Paths are where an entry and its record are, relative to the cache's folder.
func Paths(name string) []string { return []string{name, metaPath(name)} }

// records are what is noted of each entry: its digests, and by the time of
// modification when it was last used.
type records struct {
	folder      *folder
	temporaries *temporaries
	log         *slog.Logger
}

// touch notes that the entry is used now. That only serves eviction, so a
// failure is no reason to refuse the entry.
func (r *records) touch(ctx context.Context, name string) {
	now := time.Now()
	err := r.folder.root.Chtimes(metaPath(name), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		r.note(ctx, name, Stored{})
		return
	}
	if err != nil {
		r.log.WarnContext(ctx, "cannot note the use of a cached file", "name", name, "error", err)
	}
}

// note writes the digests of the entry and that it is used now. Like touch, it
// may fail.
func (r *records) note(ctx context.Context, name string, s Stored) {
	if err := r.write(metaPath(name), s); err != nil {
		r.log.WarnContext(ctx, "cannot record a cached file", "name", name, "error", err)
	}
}

func (r *records) write(path string, s Stored) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp, err := r.temporaries.create()
	if err != nil {
		return err
	}
	defer tmp.discard()
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := r.folder.root.Rename(tmp.path, path); err != nil {
		return err
	}
	// The clock of file systems lags a little behind; eviction compares.
	now := time.Now()
	return r.folder.root.Chtimes(path, now, now)
}

// lastUse is when the entry was used or written, whichever is later.
func (r *records) lastUse(name string, info fs.FileInfo) time.Time {
	used := info.ModTime()
	if meta, err := r.folder.root.Lstat(metaPath(name)); err == nil && meta.ModTime().After(used) {
		return meta.ModTime()
	}
	return used
}

// remove deletes the record of an entry; a missing one is fine.
func (r *records) remove(name string) error {
	if err := r.folder.root.Remove(metaPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the record of the cached file %s: %w", name, err)
	}
	return nil
}

// clean deletes the records of entries that are gone.
func (r *records) clean() error {
	known := map[string]bool{}
	err := r.folder.each(".", func(e fs.DirEntry) error {
		known[metaPath(e.Name())] = true
		return nil
	})
	if err != nil {
		return err
	}
	return r.folder.each(metaName, func(e fs.DirEntry) error {
		path := metaName + "/" + e.Name()
		if known[path] {
			return nil
		}
		return r.folder.root.RemoveAll(path)
	})
}
