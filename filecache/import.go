package filecache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"lpbuildd/disk"
)

// Import puts a file of this machine, or of an http or https URL, into the cache
// under its SHA-1, which need not be known before. Like a download it leaves
// MinFree bytes, and may evict for that.
func (c *Cache) Import(ctx context.Context, place string) (Stored, error) {
	if strings.Contains(place, "://") {
		s, err := c.importURL(ctx, place)
		if err != nil {
			return Stored{}, fmt.Errorf("cannot fetch %s: %s", redactURL(place), reason(err, c.secretsOf(Source{URL: &place})))
		}
		return s, nil
	}
	s, err := c.importFile(ctx, place)
	if err != nil {
		return Stored{}, fmt.Errorf("cannot add %s: %w", place, err)
	}
	return s, nil
}

func (c *Cache) importFile(ctx context.Context, path string) (Stored, error) {
	f, err := os.Open(path)
	if err != nil {
		return Stored{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return Stored{}, err
	}
	if !info.Mode().IsRegular() {
		return Stored{}, errors.New("it is not a regular file")
	}
	if err := c.makeRoom(ctx, disk.Room{Bytes: info.Size(), Inodes: inodesOfEntry}); err != nil {
		return Stored{}, err
	}
	return c.Store(ctx, f)
}

func (c *Cache) importURL(ctx context.Context, place string) (Stored, error) {
	u, err := parseURL(place)
	if err != nil {
		return Stored{}, err
	}
	tmp, err := c.temporaryFor(ctx)
	if err != nil {
		return Stored{}, err
	}
	defer tmp.discard()
	d := &download{Cache: c, src: Source{URL: &place}, url: u, tmp: tmp, total: -1}
	if err := d.fetchAll(ctx); err != nil {
		return Stored{}, err
	}
	s := tmp.stored()
	there, _, err := c.look(s.SHA1)
	if err != nil {
		return Stored{}, err
	}
	s.New = !there
	return s, tmp.commit(ctx, s.SHA1)
}

// Rehash reads a whole entry, whatever is known of it, and returns what it is.
// It changes nothing. A missing entry is fs.ErrNotExist.
func (c *Cache) Rehash(ctx context.Context, name string) (Stored, error) {
	if err := CheckName(name); err != nil {
		return Stored{}, err
	}
	s, _, err := c.hashEntry(ctx, name)
	return s, err
}

// IsSHA1 tells whether a name promises its content.
func IsSHA1(name string) bool { return isSHA1(name) }
