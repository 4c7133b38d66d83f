package filecache

import (
	"context"
	"crypto/rand"
	"crypto/sha1" // the protocol names files by SHA-1; SHA-256 is recorded beside it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"lpbuildd/disk"
)

// Stored describes content that was put into the cache.
type Stored struct {
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// New is false if the cache had the content before.
	New bool `json:"-"`
}

// Store puts content into the cache under its SHA-1. When it returns, the entry
// is on disk. It never evicts anything and does not respect MinFree: a result
// may use the last byte.
func (c *Cache) Store(ctx context.Context, content io.Reader) (Stored, error) {
	return c.store(ctx, content, true)
}

func (c *Cache) store(ctx context.Context, content io.Reader, durable bool) (Stored, error) {
	tmp, err := c.newTemporary()
	if err != nil {
		return Stored{}, err
	}
	defer tmp.discard()
	if err := copyChunks(ctx, tmp, content); err != nil {
		return Stored{}, fmt.Errorf("cannot store a file in the cache: %w", err)
	}
	s := tmp.stored()
	there, trusted, err := c.look(s.SHA1)
	if err != nil {
		return Stored{}, err
	}
	s.New = !there
	if trusted {
		c.touch(ctx, s.SHA1)
		return s, nil
	}
	if s.New && c.opts.BeforeNew != nil {
		if err := c.opts.BeforeNew(s.SHA1); err != nil {
			return Stored{}, err
		}
	}
	// An entry that nobody hashed yet may be corrupted; this one is not.
	return s, tmp.makeEntry(ctx, s.SHA1, durable)
}

// sums hashes with both functions in one pass.
type sums struct {
	sha1, sha256 hash.Hash
	size         int64
}

func newSums() *sums {
	return &sums{sha1: sha1.New(), sha256: sha256.New()} // the protocol names files by SHA-1
}

// Write never fails.
func (s *sums) Write(p []byte) (int, error) {
	s.sha1.Write(p)
	s.sha256.Write(p)
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sums) stored() Stored {
	return Stored{
		SHA1: hex.EncodeToString(s.sha1.Sum(nil)), SHA256: hex.EncodeToString(s.sha256.Sum(nil)),
		Size: s.size,
	}
}

// temporary is a file that is not yet an entry. It is locked as long as it is
// open, so that CleanTemporaries can tell it from one whose writer died.
type temporary struct {
	*sums
	cache *Cache
	file  *os.File
	path  string
}

func (c *Cache) newTemporary() (*temporary, error) {
	for {
		t := &temporary{sums: newSums(), cache: c, path: tmpName + "/" + strings.ToLower(rand.Text())}
		var err error
		t.file, err = c.create(t.path)
		if err != nil {
			return nil, fmt.Errorf("cannot make a temporary file in the cache: %w", err)
		}
		if locked, err := t.lock(); locked || err != nil {
			return t, err
		}
	}
}

// create makes a file that belongs to the owner of the cache.
func (c *Cache) create(path string) (*os.File, error) {
	f, err := c.root.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if c.owner != nil {
		err = f.Chown(c.owner.UID, c.owner.GID)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), c.root.Remove(path))
	}
	return f, nil
}

// lock is false if CleanTemporaries was quicker and removes, or has removed, the
// file.
func (t *temporary) lock() (bool, error) {
	err := disk.LockOpen(t.file)
	info, statErr := t.file.Stat()
	switch {
	case err == nil && statErr == nil && linked(info):
		return true, nil
	case statErr == nil && (err == nil || errors.Is(err, disk.ErrLocked)):
		t.discard()
		return false, nil
	}
	t.discard()
	return false, fmt.Errorf("cannot lock a temporary file in the cache: %w", errors.Join(err, statErr))
}

func linked(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return !ok || st.Nlink > 0
}

// Write appends to the file, and hashes what it could append.
func (t *temporary) Write(p []byte) (int, error) {
	n, err := t.file.Write(p)
	_, _ = t.sums.Write(p[:n])
	return n, err
}

// reset empties the file.
func (t *temporary) reset() error {
	t.sums = newSums()
	_, err := t.file.Seek(0, io.SeekStart)
	return errors.Join(err, t.file.Truncate(0))
}

// commit makes the file the entry of that name, on the disk.
func (t *temporary) commit(ctx context.Context, name string) error {
	return t.makeEntry(ctx, name, true)
}

func (t *temporary) makeEntry(ctx context.Context, name string, durable bool) error {
	c := t.cache
	// The build user, who need not be the owner, reads the entries.
	err := t.file.Chmod(0o644)
	if err == nil && durable {
		err = t.file.Sync()
	}
	if err == nil {
		err = c.root.Rename(t.path, name)
	}
	if err == nil && durable {
		err = c.syncDir()
	}
	// Only now, as the new name has changed the inode.
	info, statErr := t.file.Stat()
	err = errors.Join(err, statErr)
	if err != nil {
		return fmt.Errorf("cannot store the file %s in the cache: %w", name, err)
	}
	c.trust(name, fingerprintOf(info))
	// A record is made with the first use, too; one more file for each of many is
	// half of the work.
	if durable {
		c.record(ctx, name, t.stored())
	}
	return nil
}

// discard closes the file, and removes it unless it was committed.
func (t *temporary) discard() {
	err := t.cache.root.Remove(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err = errors.Join(err, t.file.Close()); err != nil {
		t.cache.log.Warn("cannot remove a temporary file of the cache", "error", err)
	}
}

func (c *Cache) syncDir() error { return disk.Sync(c.root.Open(".")) }
