package filecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// fingerprint is what changes when somebody else replaces an entry or writes to
// it. The time of modification can be set back, that of the last change of the
// inode cannot; a new mode or name changes it too, which costs one look at the
// content.
type fingerprint struct {
	size, modified, changed int64
	inode                   uint64
}

func fingerprintOf(info fs.FileInfo) fingerprint {
	fp := fingerprint{size: info.Size(), modified: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		fp.inode, fp.changed = st.Ino, st.Ctim.Nano()
	}
	return fp
}

// Present tells whether the entry is there, and notes that it was used. A file
// named by its SHA-1 is hashed when it is asked for the first time since Open,
// or since it changed; if it is not what its name says, it is removed and does
// not count. Other names count if they are regular files. An error means a bad
// name, a file that cannot be read, or that the caller's context ended.
func (c *Cache) Present(ctx context.Context, name string) (bool, error) {
	if err := CheckName(name); err != nil {
		return false, err
	}
	there, trusted, err := c.look(name)
	if err != nil || !there {
		return false, err
	}
	if !trusted {
		there, err = share(ctx, c, &c.checks, name, func(ctx context.Context) (bool, error) {
			return c.verify(ctx, name)
		})
		if err != nil || !there {
			return false, err
		}
	}
	c.touch(ctx, name)
	return true, nil
}

// look tells without reading it whether a regular file is there, and whether it
// need not be hashed.
func (c *Cache) look(name string) (there, trusted bool, err error) {
	info, err := c.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		c.forget(name)
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("cannot look at the cached file %s: %w", name, err)
	}
	if !isSHA1(name) {
		return true, true, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	fp, ok := c.verified[name]
	return true, ok && fp == fingerprintOf(info), nil
}

// verify hashes the entry. It starts again if the entry changes meanwhile.
func (c *Cache) verify(ctx context.Context, name string) (bool, error) {
	for range 3 {
		got, fp, err := c.hashEntry(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case err == nil && got.SHA1 == name:
			c.trust(name, fp)
			c.record(ctx, name, got)
			return true, nil
		case err != nil && !errors.Is(err, unix.EIO):
			return false, err
		}
		info, err := c.root.Lstat(name)
		if err != nil || fingerprintOf(info) != fp {
			continue
		}
		c.log.WarnContext(ctx, "removing a corrupted file from the cache", "name", name, "sha1", got.SHA1, "size", got.Size)
		return false, c.Remove(name)
	}
	return false, nil
}

func (c *Cache) hashEntry(ctx context.Context, name string) (Stored, fingerprint, error) {
	f, info, err := c.openEntry(name)
	if err != nil {
		return Stored{}, fingerprint{}, err
	}
	defer func() { _ = f.Close() }()
	sums := newSums()
	if err = copyChunks(ctx, sums, f); err != nil {
		err = fmt.Errorf("cannot read the cached file %s: %w", name, err)
	}
	return sums.stored(), fingerprintOf(info), err
}

// openEntry opens a regular file and nothing else; whatever is no regular file
// does not exist.
func (c *Cache) openEntry(name string) (*os.File, fs.FileInfo, error) {
	// os.Root would follow a symbolic link; the name is a single component.
	path := filepath.Join(c.dir, name)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func (c *Cache) trust(name string, fp fingerprint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified[name] = fp
}

func (c *Cache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.verified, name)
}

const chunkBytes = 256 << 10

// chunks are buffers that are used again: many files are far smaller.
var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// copyChunks is io.Copy that ends with its context and never needs more memory
// than one chunk.
func copyChunks(ctx context.Context, w io.Writer, r io.Reader) error {
	chunk := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(chunk)
	buf := chunk[:]
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
