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
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/singleflight"

	"lpbuildd/disk"
)

// Source says where a file can be fetched from.
type Source struct {
	// URL is nil when the caller only asks whether the file is there.
	URL *string
	// Username and Password are sent as basic authentication with the first
	// request, if one of them is not empty.
	Username, Password string
}

// Presence answers whether a file is in the cache.
type Presence struct {
	Present bool
	// Info is one of the texts of spec: protocol.md section 10.
	Info string
}

// Owner is the user and the group that new files are given to.
type Owner struct{ UID, GID int }

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

// Limits are those of the Options that may change while the cache is open.
type Limits struct {
	MaxBytes int64
	MaxAge   time.Duration
	MinFree  int64
}

const (
	stateName = ".lpbuildd"
	tmpName   = stateName + "/tmp"
	metaName  = stateName + "/meta"

	defaultIdle = 60 * time.Second
	// abandonAfter ends a download that progresses, but too slowly for anyone who
	// may have asked: managers give up after 600 to 800 seconds (spec: client.md).
	abandonAfter = 6 * time.Hour
)

var errClosed = errors.New("the cache was closed")

// Cache is an open cache folder.
type Cache struct {
	dir     string
	root    *os.Root
	opts    Options
	client  *http.Client
	log     *slog.Logger
	owner   *Owner
	backoff []time.Duration
	space   func(dir string) (disk.Space, error)
	limits  atomic.Pointer[Limits]

	downloads, checks singleflight.Group

	evicting sync.Mutex
	work     sync.WaitGroup

	mu       sync.Mutex
	closed   bool                   // guarded by mu
	running  map[*task]struct{}     // guarded by mu
	verified map[string]fingerprint // guarded by mu
	pins     map[string]int         // guarded by mu
	inUse    map[string]struct{}    // guarded by mu
	since    time.Time              // guarded by mu
}

type task struct{ cancel context.CancelCauseFunc }

// Open opens the folder, which must exist, and makes what the cache needs
// inside it. It removes nothing: see CleanTemporaries.
func Open(dir string, o Options) (*Cache, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the file cache: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the file cache %s: %w", dir, err)
	}
	c := &Cache{
		dir: dir, root: root, opts: o, log: o.Log, space: disk.Of,
		backoff:  []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second},
		running:  map[*task]struct{}{},
		verified: map[string]fingerprint{},
		pins:     map[string]int{},
	}
	c.SetLimits(Limits{MaxBytes: o.MaxBytes, MaxAge: o.MaxAge, MinFree: o.MinFree})
	if c.opts.IdleTimeout <= 0 {
		c.opts.IdleTimeout = defaultIdle
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.client = newClient(o.Client)
	if err := c.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the file cache %s: %w", dir, err), root.Close())
	}
	return c, nil
}

// SetLimits changes the limits from the next download or eviction on.
func (c *Cache) SetLimits(l Limits) { c.limits.Store(&l) }

func (c *Cache) prepare() error {
	if os.Geteuid() == 0 {
		if err := c.findOwner(); err != nil {
			return err
		}
	}
	for _, name := range []string{stateName, tmpName, metaName} {
		if err := c.makeFolder(name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cache) findOwner() error {
	if c.owner = c.opts.Owner; c.owner != nil {
		return nil
	}
	info, err := c.root.Stat(".")
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		c.owner = &Owner{UID: int(st.Uid), GID: int(st.Gid)}
	}
	return nil
}

func (c *Cache) makeFolder(name string) error {
	err := c.root.Mkdir(name, 0o700)
	if err == nil && c.owner != nil {
		return c.root.Lchown(name, c.owner.UID, c.owner.GID)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := c.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", filepath.Join(c.dir, name))
	}
	return nil
}

// Close ends the downloads in flight, which then answer that they failed, and
// waits for them. The cache cannot be used afterwards.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	for t := range c.running {
		t.cancel(errClosed)
	}
	c.mu.Unlock()
	c.work.Wait()
	return c.root.Close()
}

// Dir is the cache folder, absolute.
func (c *Cache) Dir() string { return c.dir }

// StateDir is the private folder inside the cache folder. Others may keep
// things of their own in it, except as "tmp" and "meta".
func (c *Cache) StateDir() string { return StateDirOf(c.dir) }

// StateDirOf is the StateDir of the cache in a folder, which need not be open.
func StateDirOf(dir string) string { return filepath.Join(dir, stateName) }

// Path is where the entry is, or would be: it does not say that it exists.
func (c *Cache) Path(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	return filepath.Join(c.dir, name), nil
}

// share runs work once for all who ask for the same name at the same time. Work
// goes on when a caller's context ends, which only ends that caller's wait.
func share[T any](ctx context.Context, c *Cache, g *singleflight.Group, name string, work func(context.Context) (T, error)) (T, error) {
	done := g.DoChan(name, func() (any, error) {
		ctx, end := c.begin(ctx)
		defer end()
		return work(ctx)
	})
	var none T
	select {
	case r := <-done:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// begin gives work a context that only Close and abandonAfter end.
func (c *Cache) begin(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	ctx, stop := context.WithTimeout(ctx, abandonAfter)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		cancel(errClosed)
		return ctx, stop
	}
	t := &task{cancel: cancel}
	c.running[t] = struct{}{}
	c.work.Add(1)
	return ctx, func() {
		stop()
		cancel(nil)
		c.mu.Lock()
		delete(c.running, t)
		c.mu.Unlock()
		c.work.Done()
	}
}
