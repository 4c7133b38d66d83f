package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/buildlog"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/ledger"
	"lpbuildd/builders"
	"lpbuildd/filecache"
)

// target is what a build runs in, with its root directory on the host.
type target interface {
	backends.Lifecycle
	Root() string
}

// build is one build while it runs. All of it is used by the goroutine of run,
// except what mu guards.
type build struct {
	request job.Request
	dir     string // the build's folder in the state folder
	home    string // the build directory, <HOME>/build-<id>
	tell    func(func(*job.Event))
	daemon  *slog.Logger

	typ     builders.Type
	common  builders.Common
	builder builders.Builder
	account account
	cache   *filecache.Cache
	ledger  *ledger.Ledger
	log     *buildlog.Log
	target  target
	env     builders.Env

	results map[string]string
	added   []string
	timings []timing
	started time.Time

	logFull   chan struct{} // gets one value when the log has reached its limit
	leastFree atomic.Int64  // bytes, the least free space seen

	mu     sync.Mutex // guards stage and reaped
	stage  string
	reaped string // the stage whose processes were killed
}

// timing is how long a stage took.
type timing struct {
	stage string
	took  time.Duration
}

func newBuild(dir string, r job.Request, tell func(func(*job.Event)), daemon *slog.Logger) *build {
	b := &build{
		request: r, dir: dir, tell: tell,
		daemon:  daemon.With("build_id", r.BuildID),
		home:    filepath.Join(r.Settings.Home, "build-"+r.BuildID),
		results: map[string]string{},
		started: time.Now(),
		logFull: make(chan struct{}, 1),
	}
	b.leastFree.Store(math.MaxInt64)
	return b
}

// run is a whole build. It always returns an outcome, and nothing of the build
// is left when it does.
func (b *build) run(ctx context.Context) job.Outcome {
	err := b.open()
	if err == nil {
		err = b.guarded(ctx)
	}
	o := b.outcomeOf(err)
	if b.log != nil {
		if err := errors.Join(b.log.Conclude(b.summary(o, err)), b.log.Close()); err != nil {
			b.daemon.Error("Cannot end the build log", "error", err)
		}
	}
	if b.ledger != nil {
		b.closeLedger()
	}
	return o
}

// open makes what every stage needs: the log first, so that everything else
// that fails has one.
func (b *build) open() error {
	s := b.request.Settings
	args := builders.Args(b.request.Args)
	cache, err := filecache.Open(s.FileCache, filecache.Options{Log: b.daemon})
	if err != nil {
		return err
	}
	b.cache = cache
	if b.typ, err = builders.Find(b.request.Tag); err != nil {
		return err
	}
	private, _ := b.request.Args["archive_private"].(bool)
	if b.log, err = b.createLog(private || b.typ.Sanitize, builders.Secrets(args)); err != nil {
		return err
	}
	if b.common, err = builders.ParseCommon(args, b.request.Arch); err != nil {
		return err
	}
	if b.common.BuildURL != "" {
		fmt.Fprintln(b.log, b.common.BuildURL)
	}
	if b.builder, err = b.typ.New(args, keys(b.request.Files)); err != nil {
		return err
	}
	if b.account, err = lookup(s.User, s.Home); err != nil {
		return err
	}
	if b.ledger, err = b.openLedger(); err != nil {
		return err
	}
	b.target, err = b.newTarget()
	return err
}

// guarded runs the stages and the teardown. A panic in a stage is a failure of
// this build, with the stack in its log.
func (b *build) guarded(ctx context.Context) error {
	ctx, stop := b.limit(ctx)
	defer stop()
	err := b.pipeline(ctx)
	// Teardown goes on after an abort, and its failures do not hide the first.
	cleanup := b.teardown(context.WithoutCancel(ctx))
	if err == nil {
		return cleanup
	}
	if cleanup != nil {
		fmt.Fprintf(b.log, "Clean-up failed: %v\n", cleanup)
		b.daemon.Error("Clean-up of a failed build failed", "error", cleanup)
	}
	return err
}

// pipeline runs the stages in order until one fails.
func (b *build) pipeline(ctx context.Context) error {
	abandon := make(chan struct{})
	var killer sync.WaitGroup
	defer killer.Wait()
	over, finish := context.WithCancelCause(context.WithoutCancel(ctx))
	defer finish(nil)
	killer.Go(func() { b.killOnCancel(ctx, over, abandon) })
	for _, s := range stages() {
		if s.wanted != nil && !s.wanted(b) {
			continue
		}
		if err := b.runStage(ctx, s, abandon); err != nil {
			if ctx.Err() == nil {
				err = b.blame(err)
			}
			return &stageError{stage: s, err: err}
		}
	}
	return nil
}

// runStage runs one stage. It ends when the stage does, or when its processes
// cannot be killed.
func (b *build) runStage(ctx context.Context, s stage, abandon <-chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.enter(s)
	start := time.Now()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("internal error: %v\n%s", r, debug.Stack())
			}
		}()
		done <- s.run(ctx, b)
	}()
	var err error
	select {
	case err = <-done:
	case <-abandon:
		err = errUnkillable
	}
	b.timings = append(b.timings, timing{stage: s.name, took: time.Since(start)})
	flushErr := b.log.Flush()
	// What a command says after it was killed is not why the build ended.
	if ctx.Err() != nil && !errors.Is(err, errUnkillable) {
		return context.Cause(ctx)
	}
	return errors.Join(err, flushErr)
}

// enter notes the stage that begins.
func (b *build) enter(s stage) {
	b.mu.Lock()
	b.stage = s.wire
	b.mu.Unlock()
	b.tell(func(e *job.Event) { e.Stage = s.name })
	if s.announce != nil {
		b.announce(s.announce(b)...)
	}
	if s.says != "" {
		fmt.Fprintf(b.log, s.says+"\n", b.request.BuildID)
	}
}

// announce writes the two lines that precede a step in the log (spec:
// lifecycle.md section 4.1).
func (b *build) announce(argv ...string) {
	_ = b.log.Flush()
	fmt.Fprintf(b.log, "[%s]\nRUN: %s %s\n", time.Now().Format(time.ANSIC), argv[0], backends.Quote(argv[1:]...))
}

// operation is the command line of a target operation, as the log shows it
// (spec: lifecycle.md section 4.2).
func (b *build) operation(name string, args ...string) []string {
	argv := []string{
		filepath.Join(b.request.Settings.SharePath, "bin", "in-target"), name,
		"--backend=" + b.typ.Backend, "--series=" + b.common.Series, "--arch=" + b.common.ArchTag,
	}
	for _, c := range b.common.Constraints {
		argv = append(argv, "--constraint="+c)
	}
	return append(append(argv, b.request.BuildID), args...)
}

// createLog makes the build log, which belongs to the owner of the cache.
func (b *build) createLog(private bool, secrets []string) (*buildlog.Log, error) {
	uid, gid, err := owner(b.request.Settings.FileCache)
	if err != nil {
		return nil, err
	}
	return buildlog.Create(buildlog.Options{
		Path:    filepath.Join(b.request.Settings.FileCache, "buildlog"),
		Private: private, Secrets: secrets, UID: uid, GID: gid,
		Limit:   b.request.Settings.LogLimit,
		OnLimit: func() { b.logFull <- struct{}{} },
	})
}

// openLedger cleans what an earlier build left (fast clean-up leaves its build
// directory) and opens the ledger of this one.
func (b *build) openLedger() (*ledger.Ledger, error) {
	path := filepath.Join(b.dir, job.LedgerName)
	if err := ledger.Clean(path, undo(b.dir)); err != nil {
		return nil, fmt.Errorf("cannot clean up after the last build: %w", err)
	}
	return ledger.Open(path)
}

// closeLedger closes the ledger and removes it when nothing stands in it.
func (b *build) closeLedger() {
	path := filepath.Join(b.dir, job.LedgerName)
	err := b.ledger.Close()
	open, readErr := ledger.Read(path)
	if err == nil && readErr == nil && len(open) == 0 {
		err = os.Remove(path)
	}
	if err := errors.Join(err, readErr); err != nil {
		b.daemon.Error("Cannot close the ledger", "error", err)
	}
}
