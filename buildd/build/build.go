package build

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/namespace"
	"lpbuildd/buildd/proxy"
	"lpbuildd/buildd/state"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// target is what a build runs in, with its root directory on the host.
type target interface {
	backends.Lifecycle
	Root() string
}

// parts are what a build takes from this machine; tests take others.
type parts struct {
	// find looks a build type up.
	find func(tag string) (builders.Type, error)
	// newTarget makes the target of the build's backend, without touching
	// anything yet.
	newTarget func(*build) (target, error)
	// runners run commands on the host, as the build user and as root.
	runners func(*build) (user, root backends.Runner)
	// killAll kills everything that the build has started, in the target or
	// not.
	killAll func(ctx context.Context) error
	// memory tells what happened to the memory of the build.
	memory func(context.Context, *build) (cgroup.Memory, error)
	// refusals tells how many processes the kernel has refused to the build.
	refusals func(context.Context, *build) (int, error)
	// noGroup is why the limits of the build are not kept, "" if they are.
	noGroup string
	// stages are the table of the same name.
	stages []stage
}

func machine() parts {
	return parts{
		find: builders.Find, newTarget: newTarget, runners: runners, killAll: namespace.KillAll,
		memory: memoryOf, refusals: refusalsOf, noGroup: os.Getenv(cgroup.UnkeptVariable), stages: stages(),
	}
}

// build is one build while it runs. All of it is used by the goroutine of run,
// and by that of the current stage while run waits for it, except what mu
// guards.
type build struct {
	parts
	request job.Request
	dir     state.Build // the build's folder in the state folder
	home    string      // the build directory, <HOME>/build-<id>
	tell    func(func(*job.Event))
	secrets []string // never to be in a log
	redact  func(string) string
	daemon  *slog.Logger // the daemon's log; what goes there is redacted

	typ     builders.Type
	common  builders.Common
	builder builders.Builder
	network builders.ProxyArgs
	token   proxy.Token
	parked  string // where the token is kept for Cleanup, "" if it is not
	// credentials are what hideArchives took out of the archives, archives the
	// proxy that adds them again.
	credentials []proxy.Credential
	archives    *proxy.Archives
	account     account
	cache       *filecache.Cache
	ledger      *ledger.Ledger
	// resultList names what batch has brought into the cache.
	resultList *os.File
	batch      *filecache.Batch
	// stored is how many results there are, and how large they are together.
	stored struct{ count, bytes int64 }
	log    *lineLog
	target target
	env    builders.Env

	timings []timing
	started time.Time
	// claimed is the lock on the build directory; foreign says that another
	// builder has one with this name.
	claimed *disk.Lock
	foreign bool
	// leftForReset says that fast clean-up left the target.
	leftForReset bool
	// stuckIn is the stage that was abandoned, "" if none was.
	stuckIn string
	// unwritten is why there is no outcome file after run.
	unwritten error
	// secretPaths are the files in the target that hold secrets.
	secretPaths []string
	// kept is what is kept of the build, nil if nothing is.
	kept *kept.Record

	logFull chan struct{} // gets one value when the log has reached its limit
	least   *lowWater     // of the disks that the build uses

	mu      sync.Mutex // guards what follows
	current stage
	reaped  bool // the processes of the current stage were killed
	results map[string]string
	added   []string
	extra   map[string]any
	owed    bool     // the token is still to be revoked
	strays  []string // what the summary says of processes that were left behind
}

// timing is how long a stage took.
type timing struct {
	stage string
	took  time.Duration
}

func newBuild(dir state.Build, r job.Request, p parts, tell func(func(*job.Event)), daemon *slog.Logger) *build {
	secrets := secretsOf(r)
	redact := redactor(secrets)
	b := &build{
		parts: p, request: r, dir: dir, tell: tell, secrets: secrets, redact: redact,
		daemon:  slog.New(redactingHandler{daemon.Handler(), redact}).With("build_id", r.BuildID),
		home:    filepath.Join(r.Settings.Home, leftovers.HomePrefix+r.BuildID),
		results: map[string]string{},
		started: time.Now(),
		logFull: make(chan struct{}, 1),
		least:   newLowWater(),
	}
	return b
}

// run is a whole build. It always returns an outcome, which it writes to the
// outcome file, and nothing of the build is left when it does.
func (b *build) run(ctx context.Context) job.Outcome {
	b.owe()
	err := b.open(ctx)
	if err == nil {
		err = b.guarded(ctx)
	}
	b.revoke(ctx)
	b.makeRoom(context.WithoutCancel(ctx))
	o := b.outcomeOf(err)
	b.conclude(b.summary(o, err))
	_ = b.claimed.Close() // nothing was written to it
	b.unwritten = job.WriteOutcome(b.dir, o)
	if b.ledger != nil {
		b.closeLedger()
	}
	if b.cache != nil {
		if err := b.cache.Close(); err != nil {
			b.daemon.Error("Cannot close the file cache", "error", err)
		}
	}
	return o
}

// makeRoom deletes what the build threw away before its end is written down,
// if it has filled the disk; otherwise that can wait.
func (b *build) makeRoom(ctx context.Context) {
	if b.least.room().Lacks(fullRoom()) == "" && (b.log == nil || b.log.Err() == nil) {
		return
	}
	if err := chroot.EmptyTrash(ctx, b.dir.State().Trash()); err != nil {
		b.daemon.Error("Cannot make room on a full disk", "error", err)
	}
}

// open makes what every stage needs: the log first, so that everything else
// that fails has one.
func (b *build) open(ctx context.Context) error {
	openLedger := func() error { return b.openLedger(context.WithoutCancel(ctx)) }
	for _, step := range []func() error{b.openLog, b.checkGroup, b.parse, b.openCache, openLedger, b.recordToken, b.openAccount, b.openTarget} {
		if err := protect(step); err != nil {
			return &stageError{stage: stage{name: "request", failure: verdict.BuilderFail}, err: err}
		}
	}
	return nil
}

// parse reads the arguments and finds the build user.
func (b *build) parse() error {
	args := builders.Args(b.request.Args)
	var err error
	if b.common, err = builders.ParseCommon(args, b.request.Arch); err != nil {
		return err
	}
	b.hideArchives()
	if b.common.BuildURL != "" {
		b.say("%s", b.common.BuildURL)
	}
	if b.common.Variant != "" {
		b.say("Building for %s, a variant of %s.", b.common.Variant, b.common.ABI)
	}
	if names := b.typ.Unknown(args); names != "" {
		b.say("Ignoring arguments that this builder does not know: %s", names)
	}
	files := b.request.Files.Names()
	if err = builders.CheckFiles(files); err != nil {
		return err
	}
	if b.builder, err = b.typ.New(args, files); err != nil {
		return err
	}
	if b.typ.Proxy {
		if b.network, err = builders.ParseProxy(args); err != nil {
			return err
		}
	}
	return nil
}

func (b *build) openAccount() (err error) {
	b.account, err = lookup(b.request.Settings.User, b.request.Settings.Home)
	return err
}

func (b *build) openCache() (err error) {
	b.cache, err = filecache.Open(b.request.Settings.FileCache, filecache.Options{
		Log:       b.daemon,
		BeforeNew: b.noteResult,
	})
	return err
}

// openLedger cleans what an earlier build left (fast clean-up leaves its build
// directory) and opens the ledger of this one.
func (b *build) openLedger(ctx context.Context) (err error) {
	c := &leftovers.Cleaner{
		Dir: b.dir, Log: b.daemon, Report: b.reportDamage,
		Builder: job.Builder{Home: b.request.Settings.Home, Container: b.request.Settings.Container},
		// That build had an outcome, or they were removed long ago: what has such a
		// name now may be an input of this one.
		KeepResults: true,
	}
	if err := c.Clean(ctx); err != nil {
		return fmt.Errorf("cannot clean up after the last build: %w", err)
	}
	if b.ledger, err = ledger.Open(b.dir.Ledger()); err != nil {
		return err
	}
	return b.openResults()
}

const damaged = leftovers.Damaged

// reportDamage tells people of what an earlier build has left, and how.
func (b *build) reportDamage(err error) {
	b.say("The builder's record of what builds leave was damaged; it cleans up after earlier ones by what it finds: %v", err)
	b.daemon.Error(damaged, "error", err)
}

func (b *build) openTarget() (err error) {
	b.target, err = b.newTarget(b)
	return err
}

// closeLedger closes the ledger, and removes it when nothing stands in it.
func (b *build) closeLedger() {
	path := b.dir.Ledger()
	open := b.ledger.Entries()
	err := errors.Join(b.closeResults(), b.ledger.Close())
	if err == nil && len(open) == 0 {
		err = errors.Join(os.Remove(path), disk.Remove(b.dir.Container()))
	}
	if err != nil {
		b.daemon.Error("Cannot close the ledger", "error", err)
	}
}

// addResult notes what is in the cache under a result's name.
func (b *build) addResult(name string, stored filecache.Stored) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.results[name] != "" {
		b.say("The result %s comes twice; the later one counts.", name)
	}
	b.results[name] = stored.SHA1
	if stored.New {
		b.added = append(b.added, stored.SHA1)
	}
}

// setExtra publishes a key of the extra status (spec: protocol.md section 13).
func (b *build) setExtra(key string, value any) {
	// It may tell of results. What is not on the disk ends the stage soon.
	if err := b.settle(); err != nil {
		b.daemon.Error("Results did not reach the disk", "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	extra := maps.Clone(b.extra)
	if extra == nil {
		extra = map[string]any{}
	}
	extra[key] = value
	b.extra = extra
	b.tell(func(e *job.Event) { e.Extra = extra })
}
