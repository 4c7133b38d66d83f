package filecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"lpbuildd/disk"
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

// touch notes that the entry is used now. That only serves eviction, so a
// failure is no reason to refuse the entry.
func (c *Cache) touch(ctx context.Context, name string) {
	now := time.Now()
	err := c.root.Chtimes(metaPath(name), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		c.record(ctx, name, Stored{})
		return
	}
	if err != nil {
		c.log.WarnContext(ctx, "cannot note the use of a cached file", "name", name, "error", err)
	}
}

// record writes the digests of the entry and that it is used now. Like touch,
// it may fail.
func (c *Cache) record(ctx context.Context, name string, s Stored) {
	if err := c.writeMeta(metaPath(name), s); err != nil {
		c.log.WarnContext(ctx, "cannot record a cached file", "name", name, "error", err)
	}
}

func (c *Cache) writeMeta(path string, s Stored) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp, err := c.newTemporary()
	if err != nil {
		return err
	}
	defer tmp.discard()
	if _, err := tmp.Write(append(data, '\n')); err != nil {
		return err
	}
	if err := c.root.Rename(tmp.path, path); err != nil {
		return err
	}
	// The clock of file systems lags a little behind; eviction compares.
	now := time.Now()
	return c.root.Chtimes(path, now, now)
}

// lastUse is when the entry was used or written, whichever is later.
func (c *Cache) lastUse(name string, info fs.FileInfo) time.Time {
	used := info.ModTime()
	if meta, err := c.root.Lstat(metaPath(name)); err == nil && meta.ModTime().After(used) {
		return meta.ModTime()
	}
	return used
}

// CleanTemporaries removes what processes that died left behind: temporaries,
// also those of the daemon that this one replaces, and records of entries that
// are gone. Temporaries that a living process writes stay. It is meant for the
// start of the daemon.
func (c *Cache) CleanTemporaries() error {
	return errors.Join(c.eachStale(c.removeStale), c.cleanMeta())
}

func (c *Cache) removeStale(path string, info fs.FileInfo) error {
	if info.IsDir() {
		return c.root.RemoveAll(path)
	}
	return c.root.Remove(path)
}

// eachStale calls do for each temporary that nobody writes.
func (c *Cache) eachStale(do func(path string, info fs.FileInfo) error) error {
	err := c.each(tmpName, func(e fs.DirEntry) error {
		path := tmpName + "/" + e.Name()
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			return do(path, info)
		}
		f, err := c.root.Open(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, fs.ErrPermission):
			// A process of root's died before the file belonged to the owner of the
			// cache. One that lives sees that the file is gone, and makes another.
			return do(path, info)
		case err != nil:
			return err
		}
		if err := disk.LockOpen(f); err != nil {
			return f.Close()
		}
		return errors.Join(do(path, info), f.Close())
	})
	return errors.Join(err, c.eachOld(do))
}

func (c *Cache) cleanMeta() error {
	known := map[string]bool{}
	err := c.each(".", func(e fs.DirEntry) error {
		known[metaPath(e.Name())] = true
		return nil
	})
	if err != nil {
		return err
	}
	return c.each(metaName, func(e fs.DirEntry) error {
		path := metaName + "/" + e.Name()
		if known[path] {
			return nil
		}
		return c.root.RemoveAll(path)
	})
}

// eachOld calls do for each of the temporaries with fixed names of spec:
// protocol.md section 10.
func (c *Cache) eachOld(do func(path string, info fs.FileInfo) error) error {
	return c.each(".", func(e fs.DirEntry) error {
		stem, ok := strings.CutSuffix(e.Name(), ".tmp")
		isOld := ok && e.Type().IsRegular() && (isSHA1(stem) || stem == "storeFile")
		if !isOld {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return do(e.Name(), info)
	})
}

// each calls do for everything in the folder and joins the errors.
func (c *Cache) each(folder string, do func(fs.DirEntry) error) error {
	d, err := c.root.Open(folder)
	if err != nil {
		return fmt.Errorf("cannot list the file cache: %w", err)
	}
	list, err := d.ReadDir(-1)
	err = errors.Join(err, d.Close())
	for _, e := range list {
		if doErr := do(e); doErr != nil && !errors.Is(doErr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("cannot clean the file cache: %w", doErr))
		}
	}
	return err
}
