package filecache

import (
	"context"
	"errors"

	"lpbuildd/disk"
)

// Texts of spec: protocol.md section 10.
const (
	infoNoURL    = "No URL"
	infoCache    = "Cache"
	infoDownload = "Download"
	infoMismatch = "Digests did not match, removing again!"
	infoFailed   = "Error accessing Librarian: "
)

// Presence answers whether a file is in the cache.
type Presence struct {
	Present bool
	// Info is one of the texts of spec: protocol.md section 10.
	Info string
}

// fetched is the answer of a download, and which source it speaks of.
type fetched struct {
	Presence
	source Source
}

func (f fetched) from(s Source) bool {
	return *f.source.URL == *s.URL && f.source.Username == s.Username && f.source.Password == s.Password
}

// Ensure answers whether the file is in the cache, and downloads it if it is
// not and the source has a URL. Those who ask for one file at the same time
// share one download, which goes on when one of them gives up. Whatever goes
// wrong with the source or the disk is an answer, not an error; an error means
// a bad name or that the caller's context ended.
func (c *Cache) Ensure(ctx context.Context, name string, src Source) (Presence, error) {
	if err := CheckName(name); err != nil {
		return Presence{}, err
	}
	defer c.inUse.pin(name)()
	for {
		present, err := c.Present(ctx, name)
		switch {
		case ctx.Err() != nil:
			return Presence{}, context.Cause(ctx)
		case err != nil:
			c.log.WarnContext(ctx, "cannot use a cached file", "name", name, "error", err)
		}
		if src.URL == nil {
			return Presence{Present: present, Info: infoNoURL}, nil
		}
		if present {
			return Presence{Present: true, Info: infoCache}, nil
		}
		got, err := share(ctx, &c.tasks, &c.downloads, name, func(ctx context.Context) (fetched, error) {
			return fetched{source: src, Presence: c.fetch(ctx, name, src)}, nil
		})
		if err != nil {
			return Presence{}, err
		}
		// What failed may have been somebody else's URL or password.
		if got.Present || got.from(src) {
			return got.Presence, nil
		}
	}
}

// fetch downloads one file and turns whatever happens into an answer.
func (c *Cache) fetch(ctx context.Context, name string, src Source) Presence {
	defer c.inUse.pin(name)()
	// Another download may have ended between the look and now.
	if there, trusted, err := c.store.look(name); err == nil && there && trusted {
		return Presence{Present: true, Info: infoCache}
	}
	c.log.InfoContext(ctx, "fetching a file", "name", name, "url", redactURL(*src.URL))
	size, err := c.download(ctx, name, src)
	if err != nil {
		why := reason(err, c.downloader.secretsOf(src))
		c.log.WarnContext(ctx, "cannot fetch a file", "name", name, "error", why)
		if errors.Is(err, errMismatch) {
			return Presence{Info: infoMismatch}
		}
		return Presence{Info: infoFailed + why}
	}
	c.log.InfoContext(ctx, "fetched a file", "name", name, "size", size)
	if _, err := c.evictor.evict(ctx, disk.Room{}); err != nil {
		c.log.WarnContext(ctx, "cannot evict files from the cache", "error", err)
	}
	return Presence{Present: true, Info: infoDownload}
}

// download fetches the file into the cache and returns its size.
func (c *Cache) download(ctx context.Context, name string, src Source) (int64, error) {
	tmp, err := c.downloader.get(ctx, name, src)
	if err != nil {
		return 0, err
	}
	defer tmp.discard()
	return tmp.size, c.store.commit(ctx, tmp, name, true)
}
