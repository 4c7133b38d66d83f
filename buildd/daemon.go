package buildd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

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
	Launcher Launcher
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
	// RetryDelay is how long to wait before the end of a build is written down
	// again when that was not possible; 0 is 5 seconds.
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
	cfg   Config
	state state.Folder
	dir   string // folder of the running build

	now  atomic.Pointer[snapshot]
	lock *disk.Lock    // closed when another daemon may begin
	done chan struct{} // closed by stop
	stop func()
	wg   sync.WaitGroup

	loss      loss                   // of a build, in a crash
	broken    atomic.Pointer[string] // why the state cannot be written; nil if it can
	drainSeen atomic.Bool            // the operator's wish, as it was last logged

	sweeping   sync.Mutex // held by EmptyTrash
	expiring   sync.Mutex // held while something that is kept is removed
	protecting sync.Mutex // held while the cache is told what is in use

	// cleaning is held while what an ended build left is undone, which takes long
	// when a container engine hangs: the next build waits for it for a while, nobody
	// else does. Taken before mu.
	cleaning *semaphore.Weighted

	mu   sync.Mutex // guards what follows; held over the journal, never over a build's work
	j    journal
	link *link
	// started is the build whose supervisor, or sudo above it, this daemon has
	// started and not yet seen to end.
	started attempt
	// unwritten is since when the end of the build cannot be written down, the zero
	// time if it could be, or has not come.
	unwritten time.Time
	// ending says that the build is about to be ended by somebody who has let go
	// of mu for a while.
	ending bool
	// settings are those of the next build, abortLimit that of the current one.
	settings   job.Settings
	abortLimit time.Duration
}

// New takes up the state that the last daemon left: a build that still runs is
// followed again, one that ended is presented, one that died is cleaned up.
// The daemon lives until Close and not until the end of ctx.
func New(ctx context.Context, cfg Config) (*Daemon, error) {
	cfg.BuildWait = cmp.Or(cfg.BuildWait, 20*time.Second)
	cfg.RecoverWait = cmp.Or(cfg.RecoverWait, time.Second)
	cfg.ReadyWait = cmp.Or(cfg.ReadyWait, 1500*time.Millisecond)
	cfg.RetryDelay = cmp.Or(cfg.RetryDelay, 5*time.Second)
	cfg.WriteLimit = cmp.Or(cfg.WriteLimit, time.Minute)
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	folder := state.Folder(cfg.Cache.StateDir())
	d := &Daemon{
		cfg: cfg, state: folder, dir: folder.Build().Path(), done: make(chan struct{}),
		settings: cfg.Settings, abortLimit: cfg.Settings.AbortLimit, cleaning: semaphore.NewWeighted(1),
	}
	d.loss.time = cmp.Or(cfg.LossTime, defaultLossTime)
	d.stop = sync.OnceFunc(func() { close(d.done) })
	if info, err := os.Lstat(d.dir); err == nil && !info.IsDir() {
		d.setAside(d.dir, errors.New("it is no folder"))
	}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of builds: %w", err)
	}
	var err error
	if d.lock, err = lockState(ctx, folder); err != nil {
		return nil, err
	}
	if err := errors.Join(disk.RemoveTemporaries(folder.Path()), d.removeUnsanitized()); err != nil {
		cfg.Log.Warn("Cannot delete old files", "error", err)
	}
	d.makeReserves(ctx)
	d.mu.Lock()
	d.checkDisk()
	d.mu.Unlock()
	if err := d.recover(context.WithoutCancel(ctx)); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// SetSettings changes the settings of later builds. A build that runs keeps the
// ones that it began with.
func (d *Daemon) SetSettings(s job.Settings) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = s
}

// Close stops following the build, which goes on. It waits for the daemon's
// goroutines. No other method may be called afterwards, except Close.
func (d *Daemon) Close() {
	d.stop()
	d.mu.Lock()
	if d.link != nil {
		d.link.close()
	}
	if s := d.now.Load(); s != nil && s.tailer != nil {
		s.tailer.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
	_ = d.lock.Close() // nothing was written to it
}

// closing says that Close was called.
func (d *Daemon) closing() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// untilClosed returns a context that ends with the daemon, or with cancel, and
// not with ctx.
func (d *Daemon) untilClosed(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	d.wg.Go(func() {
		select {
		case <-d.done:
			cancel(errors.New("the daemon stops"))
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

// later calls f, holding mu, after a delay, unless the daemon is closed before.
func (d *Daemon) later(delay time.Duration, f func()) {
	d.wg.Go(func() {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-d.done:
		case <-timer.C:
			d.mu.Lock()
			defer d.mu.Unlock()
			f()
		}
	})
}

// makeReserves keeps room for the journal and the outcome of a build, so that a
// build that fills the disk can be ended.
func (d *Daemon) makeReserves(ctx context.Context) {
	if err := errors.Join(disk.MakeReserve(d.state.Path()), disk.MakeReserve(d.dir)); err != nil {
		d.cfg.Log.WarnContext(ctx, "Cannot set room aside on the disk", "error", err)
	}
}

// removeUnsanitized deletes the raw log that the predecessor of this program
// left beside the served one (weaknesses.md D1).
func (d *Daemon) removeUnsanitized() error {
	err := os.Remove(d.logPath() + ".unsanitized")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// EmptyTrash deletes what earlier builds have left to be deleted later, after
// a crash in between. It takes as long as that takes.
func (d *Daemon) EmptyTrash(ctx context.Context) {
	d.sweeping.Lock()
	defer d.sweeping.Unlock()
	if err := d.cfg.Launcher.emptyTrash(ctx, d.dir, 0); err != nil {
		d.cfg.Log.Warn("Cannot delete what earlier builds left", "error", err)
	}
}

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
	d.protect()
	p, err := d.cfg.Cache.Ensure(ctx, sum, src)
	if err != nil {
		return Presence{}, &Fault{Reason: "ensurepresent: sha1: " + err.Error()}
	}
	return p, nil
}

// Abort asks the running build to end, and does not wait until it does; the
// builder is Waiting then.
func (d *Daemon) Abort(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.j.State == Aborting {
		return nil
	}
	if err := d.transition(Abort, func(*journal) {}); err != nil {
		return err
	}
	d.cfg.Log.Info("Build is being aborted", "build_id", d.j.BuildID)
	d.sendAbort(context.WithoutCancel(ctx))
	return nil
}

// Clean forgets the finished build and deletes what it added to the cache, and
// its private inputs.
func (d *Daemon) Clean(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.transition(Clean, func(j *journal) { *j = j.forgotten() }); err != nil {
		return err
	}
	d.sweep()
	return nil
}

// sweep deletes the garbage of the last build. What cannot be deleted is tried
// again at the next clean or start: the builder is idle all the same. The caller
// holds mu.
func (d *Daemon) sweep() {
	errs := []error{d.cfg.Cache.RemoveAll(d.j.Garbage)}
	for _, path := range []string{d.logPath(), state.Build(d.dir).Accepted()} {
		errs = append(errs, os.RemoveAll(path))
	}
	if err := errors.Join(errs...); err != nil {
		d.cfg.Log.Error("Cannot delete all files of the last build", "error", err)
		return
	}
	if d.j.Garbage == nil {
		return
	}
	d.j.Garbage = nil
	if err := d.j.write(d.state); err != nil {
		d.cfg.Log.Error("Cannot write the journal", "error", err)
	}
}

// transition applies an event: checks it, changes a copy of the journal, makes
// that durable, and only then shows it. The caller holds mu.
func (d *Daemon) transition(event Event, change func(*journal)) error {
	to, err := next(d.j.State, event)
	if err != nil {
		return err
	}
	j := d.j
	change(&j)
	j.State = to
	if err := j.write(d.state); err != nil {
		return fmt.Errorf("cannot write the journal: %w", err)
	}
	d.j = j
	d.publish()
	return nil
}

// logPath is where the log of the build is.
func (d *Daemon) logPath() string { return d.state.Log() }
