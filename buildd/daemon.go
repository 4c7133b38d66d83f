package buildd

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

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
