package buildd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/filecache"
)

// Type is what the daemon knows of a build type.
type Type struct {
	// Tag is its name on the wire.
	Tag string
	// Sanitize says that its log tail is always cut as for private builds.
	Sanitize bool
	// Proxy says that ProxyInfo answers for its builds.
	Proxy bool
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
	// Settings are handed to every supervisor.
	Settings job.Settings
	// Cache is the file cache; the daemon keeps its own files in its state
	// folder.
	Cache *filecache.Cache
	// Launcher starts the privileged helpers.
	Launcher Launcher
	// AbortGrace is how much longer than Settings.AbortLimit a supervisor may
	// take to report an aborted build before it is killed.
	AbortGrace time.Duration
	Log        *slog.Logger
}

// Daemon is the builder. Make one with New; its methods are safe for
// concurrent use.
type Daemon struct {
	cfg   Config
	state string // folder of the journal
	dir   string // folder of the running build

	now    atomic.Pointer[snapshot]
	ctx    context.Context //nolint:containedctx // of the goroutines that follow a build, which outlive every call
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu   sync.Mutex // guards j and link; held over the journal, never over a build's work
	j    journal
	link *link
}

// New takes up the state that the last daemon left: a build that still runs is
// followed again, one that ended is presented, one that died is cleaned up.
// ctx ends what the daemon does in the background; see Close.
func New(ctx context.Context, cfg Config) (*Daemon, error) {
	state := cfg.Cache.StateDir()
	d := &Daemon{cfg: cfg, state: state, dir: filepath.Join(state, "build")}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of builds: %w", err)
	}
	d.ctx, d.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := d.recover(ctx); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close stops following the build, which goes on. It waits for the daemon's
// goroutines.
func (d *Daemon) Close() {
	d.cancel(errors.New("the daemon is stopping"))
	d.mu.Lock()
	if d.link != nil {
		d.link.close()
	}
	d.mu.Unlock()
	d.wg.Wait()
}

// EmptyTrash deletes what earlier builds have left to be deleted later, after
// a crash in between. It takes as long as that takes.
func (d *Daemon) EmptyTrash(ctx context.Context) {
	if err := d.cfg.Launcher.emptyTrash(ctx, d.dir); err != nil {
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
	p, err := d.cfg.Cache.Ensure(ctx, sum, src)
	if err != nil {
		return Presence{}, &Fault{Reason: "ensurepresent: sha1: " + err.Error()}
	}
	return p, nil
}

// Build checks a request, makes it durable, and starts the build. The order of
// the checks is part of the protocol (spec: protocol.md section 7), except that
// nothing changes before all of them have passed.
func (d *Daemon) Build(ctx context.Context, r Request) error {
	t, err := d.findType(r.Tag)
	if err != nil {
		return err
	}
	inputs, err := d.checkInputs(ctx, r)
	if err != nil {
		return err
	}
	if err := checkBuildID(r.BuildID); err != nil {
		return err
	}
	if state := d.now.Load().status.State; state != Idle {
		return &StateError{State: state, Event: Accept}
	}
	if err := t.Check(r.Args, names(r.Files)); err != nil {
		return &Fault{Reason: "build: args: " + err.Error()}
	}
	private, _ := r.Args["archive_private"].(bool)
	d.mu.Lock()
	defer d.mu.Unlock()
	err = d.transition(Accept, func(j *journal) {
		*j = journal{
			BuildID: r.BuildID, Tag: r.Tag, Inputs: inputs,
			Private: private || t.Sanitize, ProxyInfo: proxyInfo(r.Args),
		}
	})
	if err != nil {
		return err
	}
	if err := d.launch(r); err != nil {
		d.cfg.Log.Error("Cannot start a build", "build_id", r.BuildID, "error", err)
		return errors.Join(&Fault{Reason: "build: " + err.Error()}, d.transition(Lost, forget))
	}
	d.cfg.Log.Info("Build started", "build_id", r.BuildID, "type", r.Tag)
	return nil
}

// launch starts the supervisor and hands it the request. The caller holds mu.
func (d *Daemon) launch(r Request) error {
	for _, name := range []string{job.SocketName, job.OutcomeName} {
		if err := os.RemoveAll(filepath.Join(d.dir, name)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(d.logPath(), nil, 0o640); err != nil { //nolint:gosec // readable by the group of the builder
		return fmt.Errorf("cannot make the build log: %w", err)
	}
	socket, err := listen(d.ctx, d.dir)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	if err := d.cfg.Launcher.start(d.ctx, d.dir, socket, d.cfg.Log); err != nil {
		return err
	}
	l, err := connect(d.ctx, d.dir)
	if err != nil {
		return err
	}
	request := &job.Request{
		BuildID: r.BuildID, Tag: r.Tag, Image: r.Image, Files: r.Files, Args: r.Args,
		Arch: d.cfg.Arch, Settings: d.cfg.Settings,
	}
	// Once it is sent, the request reaches the supervisor even if this process
	// dies now.
	if err := l.send(job.Message{Request: request}); err != nil {
		l.close()
		return fmt.Errorf("cannot send the request to the supervisor: %w", err)
	}
	d.attach(l, r.BuildID)
	return nil
}

// Abort asks the running build to end. It returns at once; the builder is
// Waiting when the build has ended.
func (d *Daemon) Abort(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.j.State
	if was == Aborting {
		return nil
	}
	if err := d.transition(Abort, func(*journal) {}); err != nil {
		return err
	}
	d.cfg.Log.Info("Build is being aborted", "build_id", d.j.BuildID)
	d.sendAbort(d.j.BuildID)
	return nil
}

// Clean forgets the finished build and deletes what it brought into the cache.
func (d *Daemon) Clean(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.transition(Clean, func(j *journal) {
		*j = journal{Garbage: j.Outcome.Added}
	})
	if err != nil {
		return err
	}
	return d.sweep()
}

// sweep deletes the results of the last build. The caller holds mu.
func (d *Daemon) sweep() error {
	var errs []error
	for _, sum := range d.j.Garbage {
		errs = append(errs, d.cfg.Cache.Remove(sum))
	}
	if err := os.Remove(d.logPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		d.cfg.Log.Error("Cannot delete all results of the last build", "error", err)
		return nil //nolint:nilerr // the builder is idle; what is left goes at the next start
	}
	if d.j.Garbage == nil {
		return nil
	}
	d.j.Garbage = nil
	return d.j.write(d.state)
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

// forget is the change of a journal whose build is gone.
func forget(j *journal) { *j = journal{} }

// findType looks a build type up.
func (d *Daemon) findType(tag string) (Type, error) {
	for _, t := range d.cfg.Types {
		if t.Tag == tag {
			return t, nil
		}
	}
	return Type{}, &UnknownTypeError{Tag: tag, Known: d.Info().Tags}
}

// checkInputs checks that all files of a request are in the cache, and returns
// their checksums.
func (d *Daemon) checkInputs(ctx context.Context, r Request) ([]string, error) {
	var sums []string
	check := func(name, sum string) error {
		present, err := d.cfg.Cache.Present(ctx, sum)
		if err == nil && present {
			sums = append(sums, sum)
			return nil
		}
		return &UnknownSumError{Name: name, Sum: sum}
	}
	if err := check("", r.Image); err != nil {
		return nil, err
	}
	for _, name := range names(r.Files) {
		if err := check(name, r.Files[name]); err != nil {
			return nil, err
		}
	}
	return sums, nil
}

// names returns the keys of a filemap in a fixed order.
func names(files map[string]string) []string {
	var out []string
	for name := range files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// maxBuildID leaves room for "build-" and a suffix in a file name.
const maxBuildID = 200

// checkBuildID refuses build ids that are no single path component
// (weaknesses.md A13) or that XML cannot carry back (A12).
func checkBuildID(id string) error {
	bad := func(expected string) error {
		return &Fault{Reason: fmt.Sprintf("build: build id: expected %s, got %.60q", expected, id)}
	}
	switch {
	case id == "":
		return bad("a non-empty string")
	case len(id) > maxBuildID:
		return bad(fmt.Sprintf("at most %d bytes", maxBuildID))
	case strings.Contains(id, "/"):
		return bad("a single path component")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return bad("no control characters")
	}
	return nil
}

// proxyInfo picks what the manager asks for later.
func proxyInfo(args map[string]any) ProxyInfo {
	var p ProxyInfo
	if use, ok := args["use_fetch_service"].(bool); ok {
		p.UseFetchService = &use
	}
	if endpoint, ok := args["revocation_endpoint"].(string); ok {
		p.RevocationEndpoint = &endpoint
	}
	return p
}

// logPath is where the log of the build is.
func (d *Daemon) logPath() string { return filepath.Join(d.cfg.Cache.Dir(), "buildlog") }
