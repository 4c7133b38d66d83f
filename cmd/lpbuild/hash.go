package main

import (
	"context"
	"crypto/sha1" // the protocol names files by their SHA-1
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// localFile is a file that is offered to the builder.
type localFile struct {
	name, path, sha1 string
	size             int64
}

// hashFile computes the SHA-1 of a file, which may take seconds for an image.
func hashFile(ctx context.Context, path string) (localFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return localFile{}, err
	}
	defer func() { _ = f.Close() }() // only read
	h := sha1.New()                  // the protocol names files by their SHA-1
	size, err := io.Copy(h, &contextReader{ctx: ctx, Reader: f})
	if err != nil {
		return localFile{}, fmt.Errorf("cannot hash %s: %w", path, err)
	}
	return localFile{name: filepath.Base(path), path: path, sha1: hex.EncodeToString(h.Sum(nil)), size: size}, nil
}

// contextReader ends with a context. It lives as long as one call.
type contextReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has no place for it
	io.Reader
}

// Read fails once the context has ended.
func (r *contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// hashCache remembers the SHA-1 of large files from one run to the next. It is
// a convenience: when it cannot be read or written, files are hashed.
type hashCache struct {
	// path is that of the file, "" for none.
	path string
	now  func() time.Time
}

// hashEntry is what is known about the file of a path.
type hashEntry struct {
	Size  int64     `json:"size"`
	Mtime time.Time `json:"mtime"`
	SHA1  string    `json:"sha1"`
}

// newHashCache returns the cache in the user's cache folder.
func newHashCache() hashCache {
	dir, err := os.UserCacheDir()
	if err != nil {
		return hashCache{now: time.Now}
	}
	return hashCache{path: filepath.Join(dir, "lpbuild", "sha1.json"), now: time.Now}
}

// hash returns the SHA-1 of a file, from the cache if size and modification
// time are those of the last time.
func (c hashCache) hash(ctx context.Context, path string) (localFile, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return localFile{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return localFile{}, err
	}
	entries := c.read()
	if e := entries[path]; e.Size == info.Size() && e.Mtime.Equal(info.ModTime()) && e.SHA1 != "" {
		return localFile{name: filepath.Base(path), path: path, sha1: e.SHA1, size: e.Size}, nil
	}
	f, err := hashFile(ctx, path)
	if err != nil {
		return localFile{}, err
	}
	// A file that is being written may change without a new time.
	const settled = 2 * time.Second
	if after, err := os.Stat(path); err == nil && after.ModTime().Equal(info.ModTime()) && c.now().Sub(info.ModTime()) > settled {
		entries[path] = hashEntry{Size: f.size, Mtime: info.ModTime(), SHA1: f.sha1}
		c.write(entries)
	}
	return f, nil
}

// read returns what is remembered of files that still exist.
func (c hashCache) read() map[string]hashEntry {
	entries := map[string]hashEntry{}
	data, err := os.ReadFile(c.path)
	if err != nil || json.Unmarshal(data, &entries) != nil || entries == nil {
		return map[string]hashEntry{}
	}
	for path := range entries {
		if _, err := os.Stat(path); err != nil {
			delete(entries, path)
		}
	}
	return entries
}

// write replaces the cache; its errors do not matter.
func (c hashCache) write(entries map[string]hashEntry) {
	data, err := json.Marshal(entries)
	if err != nil || c.path == "" || os.MkdirAll(filepath.Dir(c.path), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), "sha1-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if f.Close() != nil || err != nil || os.Rename(f.Name(), c.path) != nil {
		_ = os.Remove(f.Name())
	}
}
