// Package filecache is run by the daemon, by root where a build stores its results,
// and by operators, and touches its folder alone: it keeps files named by their
// SHA-1: base images, sources and results. See spec: protocol.md sections 10 and
// 11.
//
// A cache is one flat folder. An entry is a regular file in it whose name
// passes CheckName; names of 40 lower-case hexadecimal digits promise their
// content, any other name promises nothing. What the package needs for itself
// is below the folder ".lpbuildd", which is never served: temporaries (locked
// by the process that writes them) and one small record for each entry, whose
// time of modification is the last use of the entry.
//
// Entries appear by rename after they were hashed and are on disk, so nobody
// ever sees a part of one. Several processes may have the same folder open: the
// daemon, the supervisor of a build, which stores results, and commands of
// operators. Who evicts says first what is in use (SetInUse).
//
// All methods may be called from several goroutines at once.
package filecache

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/singleflight"

	"lpbuildd/disk"
)

// Options are the settings of a cache. The zero value is a cache without any
// limit that downloads with the proxies of the environment.
type Options struct {
	// MaxBytes is the size above which the least recently used entries are
	// evicted; 0 is no limit. Entries in use may exceed it.
	MaxBytes int64
	// MaxAge is how long an entry stays without being used; 0 is for ever.
	MaxAge time.Duration
	// MinFree is how many bytes a download must leave free on the file system; of
	// its inodes, the same share.
	MinFree int64
	// Reclaim is called when the file system has no room for need bytes more,
	// before anything is evicted: what else can go there? May be nil.
	Reclaim func(ctx context.Context, need int64)
	// IdleTimeout ends a download that makes no progress for so long; 0 is 60
	// seconds. There is no limit for the whole of a download that progresses,
	// except a very generous one for those that nobody waits for any more.
	IdleTimeout time.Duration
	// Client makes the requests; nil is one of our own that honours the proxy
	// variables of the environment. Its CheckRedirect is replaced.
	Client *http.Client
	// Log gets what happens, without secrets; nil discards it.
	Log *slog.Logger
	// BeforeNew is called by Store before content that the cache does not have
	// gets its name; an error keeps it from that. May be nil.
	BeforeNew func(name string) error
	// Owner owns new files if this process is root, and is ignored otherwise.
	// Nil is the owner of the cache folder: a supervisor is root, and the daemon
	// must own what it stores.
	Owner *Owner
}

const defaultIdle = 60 * time.Second

// Cache is an open cache folder. Its parts, from the ground up: the folder, the
// temporaries and records in it, the store of the entries made of these, who uses
// which of them, who evicts the others, and who fetches new ones.
type Cache struct {
	folder      *folder
	temporaries *temporaries
	records     *records
	store       *store
	inUse       *inUse
	evictor     *evictor
	downloader  *downloader
	log         *slog.Logger

	tasks             tasks
	downloads, checks singleflight.Group
}

// Open opens the folder, which must exist, and makes what the cache needs
// inside it. It removes nothing: see CleanTemporaries.
func Open(dir string, o Options) (*Cache, error) {
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = defaultIdle
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(dir, o.Owner)
	if err != nil {
		return nil, err
	}
	c := &Cache{folder: f, inUse: &inUse{}, log: o.Log}
	c.temporaries = &temporaries{folder: f, log: o.Log}
	c.records = &records{folder: f, temporaries: c.temporaries, log: o.Log}
	c.store = &store{folder: f, temporaries: c.temporaries, records: c.records, beforeNew: o.BeforeNew, log: o.Log}
	c.evictor = &evictor{store: c.store, inUse: c.inUse, dir: f.dir, space: disk.Of, reclaim: o.Reclaim, log: o.Log}
	c.downloader = &downloader{
		client: newClient(o.Client), idle: o.IdleTimeout, backoff: backoff(),
		temporaries: c.temporaries, evictor: c.evictor, log: o.Log,
	}
	c.SetLimits(Limits{MaxBytes: o.MaxBytes, MaxAge: o.MaxAge, MinFree: o.MinFree})
	return c, nil
}

// SetLimits changes the limits from the next download or eviction on.
func (c *Cache) SetLimits(l Limits) { c.evictor.limits.Store(&l) }

// Close ends the downloads in flight, which then answer that they failed, and
// waits for them. The cache cannot be used afterwards.
func (c *Cache) Close() error {
	c.tasks.close()
	return c.folder.root.Close()
}

// Dir is the cache folder, absolute.
func (c *Cache) Dir() string { return c.folder.dir }

// StateDir is the private folder inside the cache folder. Others may keep
// things of their own in it, except as "tmp" and "meta".
func (c *Cache) StateDir() string { return StateDirOf(c.folder.dir) }

// StateDirOf is the StateDir of the cache in a folder, which need not be open.
func StateDirOf(dir string) string { return filepath.Join(dir, stateName) }

// Path is where the entry is, or would be: it does not say that it exists.
func (c *Cache) Path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(c.folder.dir, name), nil
}

// Handler serves the entries and the build log below /filecache/ (spec:
// protocol.md section 11). It needs the full path as the client sent it, so it
// must not stand behind a mux that cleans paths. Nothing is listed.
func (c *Cache) Handler() http.Handler {
	return &server{folder: c.folder, log: c.log}
}

// Store puts content into the cache under its SHA-1. When it returns, the entry
// is on disk. It never evicts anything and does not respect MinFree: a result
// may use the last byte.
func (c *Cache) Store(ctx context.Context, content io.Reader) (Stored, error) {
	return c.store.put(ctx, content, true)
}

// Entries lists the cache, the least recently used first. It reads no content.
// An error comes with the entries that could be looked at.
func (c *Cache) Entries() ([]Entry, error) { return c.store.list() }

// SetInUse says which entries are never evicted: these, and all that were
// stored or used at since or later; the zero time is no such rule. It replaces
// what was said before.
func (c *Cache) SetInUse(names []string, since time.Time) { c.inUse.set(names, since) }

// Evict removes the least recently used entries until the limits of the options
// are kept, and those that are too old. It writes nothing, so that a full disk
// does not stop it; freed is the sum of the sizes of what it removed. What is
// in use, and what an Ensure works on, stays even if limits stay exceeded.
func (c *Cache) Evict(ctx context.Context) (freed int64, err error) {
	return c.evictor.evict(ctx, disk.Room{})
}
