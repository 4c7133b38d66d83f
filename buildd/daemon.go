package buildd

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// Type is what the daemon knows of a build type.
type Type struct {
	// Tag is its name on the wire.
	Tag string
	// Sanitize says that its log tail is always cut as for private builds.
	Sanitize bool
	// NoProxyInfo says that ProxyInfo fails for its builds.
	NoProxyInfo bool
	// Extra is what the extra status of its builds has before they tell anything.
	Extra map[string]any
	// Check refuses arguments that can never build. Its error names the
	// argument and what was expected.
	Check func(args map[string]any, files []string) error
}

// Config is what a Daemon needs.
type Config struct {
	// Arch is the default architecture tag.
	Arch string
	// Version is the version of the installed package, "" if it is not known.
	Version string
	// Types are the build types, in the order in which they are shown.
	Types []Type
	// Settings are handed to every supervisor; SetSettings changes them.
	Settings job.Settings
	// Cache is the file cache; the daemon keeps its own files in its state
	// folder.
	Cache *filecache.Cache
	// Launcher starts the privileged helpers.
	Launcher Helpers
	// AbortGrace is how much longer than Settings.AbortLimit a supervisor may
	// take to report an aborted build before it is killed.
	AbortGrace time.Duration
	// BuildWait is how long a build waits until what the one before has left is
	// undone; 0 is 20 seconds: managers wait 30 for an answer (spec: client.md
	// section 11).
	BuildWait time.Duration
	// RecoverWait is how long a start waits until what the last daemon has left is
	// settled; 0 is a second. What takes longer goes on behind the answers, which
	// until then are those of the journal.
	RecoverWait time.Duration
	// ReadyWait is how long a supervisor may take to read a request that the last
	// daemon has sent, from its first word on; 0 is 1.5 seconds.
	ReadyWait time.Duration
	// RetryDelay is how long to wait before something is tried again, as to write down
	// the end of a build, or looked at again, as whether a supervisor lives; 0 is 5
	// seconds.
	RetryDelay time.Duration
	// WriteLimit is for how long that is tried before the build ends, for all to see,
	// as the builder's failure; 0 is a minute.
	WriteLimit time.Duration
	// Changed is called after every change of the state or the build; nil is
	// nobody. It must not wait, nor call the daemon.
	Changed func()
	// LossTime is for how long a drained builder that lost its build says that
	// it is idle; 0 is 14 seconds, see drain.go.
	LossTime time.Duration
	Log      *slog.Logger
}

// Daemon is the builder. Make one with New; its methods are safe for
// concurrent use.
type Daemon struct {
	cfg      *Config
	files    *files
	lock     *disk.Lock // closed when another daemon may begin
	loop     *loop      // has the slot
	board    *board
	disk     *diskWatch
	drain    *drainNews
	trash    *trash
	settings atomic.Pointer[job.Settings] // of the next build
	close    func()
}

// New takes up the state that the last daemon left: a build that still runs is
// followed again, one that ended is presented, one that died is cleaned up.
// The daemon lives until Close and not until the end of ctx.
func New(ctx context.Context, cfg Config) (*Daemon, error) {
	cfg.setDefaults()
	files := newFiles(state.Folder(cfg.Cache.StateDir()), cfg.Log)
	if err := files.makeFolder(); err != nil {
		return nil, err
	}
	lock, err := lockState(ctx, files.state)
	if err != nil {
		return nil, err
	}
	files.removeOld()
	files.makeReserves(ctx)
	loop := newLoop()
	d := &Daemon{
		cfg: &cfg, files: files, lock: lock, loop: loop,
		board: &board{version: cfg.Version, log: files.state.Log(), types: cfg.Types, cache: cfg.Cache, changed: cfg.Changed},
		disk:  &diskWatch{files: files, loop: loop, log: cfg.Log, changed: cfg.Changed, delay: cfg.RetryDelay},
		drain: &drainNews{state: files.state, log: cfg.Log},
		trash: &trash{files: files, launcher: cfg.Launcher, log: cfg.Log},
	}
	d.settings.Store(&cfg.Settings)
	d.board.loss.time = cfg.LossTime
	d.close = sync.OnceFunc(func() {
		// The build goes on, and so does its log.
		loop.stop(func(_ context.Context, s *slot) {
			if s.link != nil {
				s.link.close()
			}
			d.board.now.Load().close()
		})
		_ = lock.Close() // nothing was written to it
	})
	settled := d.start(context.WithoutCancel(ctx))
	if settled == nil {
		return d, nil
	}
	select {
	case <-settled:
	case <-time.After(cfg.RecoverWait):
	}
	return d, nil
}

// start makes the slot and gives it to the loop.
func (d *Daemon) start(ctx context.Context) (settled <-chan struct{}) {
	cfg := d.cfg
	s := &slot{
		cfg: cfg, log: cfg.Log, loop: d.loop, files: d.files, disk: d.disk, board: d.board, drain: d.drain,
		book:       &book{files: d.files, board: d.board, cache: cfg.Cache, loop: d.loop, log: cfg.Log, retry: cfg.RetryDelay},
		cleaner:    &cleaner{files: d.files, launcher: cfg.Launcher, cache: cfg.Cache, trash: d.trash, loop: d.loop, log: cfg.Log, settings: &d.settings},
		unwritten:  patience{limit: cfg.WriteLimit},
		abortLimit: cfg.Settings.AbortLimit,
	}
	s.disk.check()
	settled = s.takeUp(ctx)
	go d.loop.run(ctx, s)
	return settled
}

// setDefaults fills in what is not set.
func (c *Config) setDefaults() {
	c.BuildWait = cmp.Or(c.BuildWait, 20*time.Second)
	c.RecoverWait = cmp.Or(c.RecoverWait, time.Second)
	c.ReadyWait = cmp.Or(c.ReadyWait, 1500*time.Millisecond)
	c.RetryDelay = cmp.Or(c.RetryDelay, 5*time.Second)
	c.WriteLimit = cmp.Or(c.WriteLimit, time.Minute)
	c.LossTime = cmp.Or(c.LossTime, defaultLossTime)
	if c.Changed == nil {
		c.Changed = func() {}
	}
}

// SetSettings changes the settings of later builds. A build that runs keeps the
// ones that it began with.
func (d *Daemon) SetSettings(s job.Settings) { d.settings.Store(&s) }

// Close stops following the build, which goes on. It waits for the daemon's
// goroutines. Later calls fail, but for another Close.
func (d *Daemon) Close() { d.close() }

// Info describes the builder.
func (d *Daemon) Info() Info {
	info := Info{Arch: d.cfg.Arch}
	for _, t := range d.cfg.Types {
		info.Tags = append(info.Tags, t.Tag)
	}
	return info
}

// EnsurePresent makes a file present in the cache, or only says whether it is.
// It answers when the download is over, one way or the other.
func (d *Daemon) EnsurePresent(ctx context.Context, sum string, src Source) (Presence, error) {
	d.board.protect()
	p, err := d.cfg.Cache.Ensure(ctx, sum, src)
	if err != nil {
		return Presence{}, &Fault{Reason: "ensurepresent: sha1: " + err.Error()}
	}
	return p, nil
}

// Abort asks the running build to end, and does not wait until it does; the
// builder is Waiting then.
func (d *Daemon) Abort(ctx context.Context) error {
	var l *link
	var build attempt
	var err error
	stopping := d.loop.call(func(ctx context.Context, s *slot) {
		build = s.book.journal.attempt()
		l, err = s.abort(ctx)
	})
	if stopping != nil {
		return stopping
	}
	if l != nil {
		// Here, because a supervisor may be slow to read it, and the loop has more to do.
		l.abort(ctx, d.cfg.Log, build)
	}
	return err
}

// Clean forgets the finished build and deletes what it added to the cache, and
// its private inputs.
func (d *Daemon) Clean(context.Context) error {
	var err error
	if stopping := d.loop.call(func(_ context.Context, s *slot) { err = s.book.clean() }); stopping != nil {
		return stopping
	}
	return err
}
