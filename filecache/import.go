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
			return Stored{}, fmt.Errorf("cannot fetch %s: %s", redactURL(place), reason(err, c.downloader.secretsOf(Source{URL: &place})))
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
	if err := c.evictor.makeRoom(ctx, disk.Room{Bytes: info.Size(), Inodes: inodesOfEntry}); err != nil {
		return Stored{}, err
	}
	return c.Store(ctx, f)
}

func (c *Cache) importURL(ctx context.Context, place string) (Stored, error) {
	tmp, err := c.downloader.get(ctx, "", Source{URL: &place})
	if err != nil {
		return Stored{}, err
	}
	defer tmp.discard()
	s := tmp.stored()
	there, _, err := c.store.look(s.SHA1)
	if err != nil {
		return Stored{}, err
	}
	s.New = !there
	return s, c.store.commit(ctx, tmp, s.SHA1, true)
}
