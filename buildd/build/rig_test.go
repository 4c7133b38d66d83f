package build

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/builders"
	"lpbuildd/filecache"
	"lpbuildd/ordered"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a whole build without root: its target is in memory, its host answers
// from a script, its builder is a stub.
type rig struct {
	*testing.T
	request job.Request
	machine machine
	dir     state.Build // the build's folder
	home    string      // the build directory

	target *fake.Target
	// hooks run before the life cycle steps of the target: "stop", ...
	hooks  map[string]func(ctx context.Context) error
	stub   stub
	memory cgroup.Memory
	// refused is how many processes the kernel has refused to the build.
	refused int
	// kill is what kills all processes; nil is a success.
	kill  func(ctx context.Context) error
	abort context.CancelCauseFunc
	ctx   func() context.Context

	mu     sync.Mutex // guards what follows
	stages []string   // told to the daemon
	event  job.Event
	daemon bytes.Buffer // its log
}

// stub is a build type that does what a test says.
type stub struct {
	build  func(ctx context.Context, env builders.Env) error
	gather func(add func(name string, content io.ReadCloser) error) error
}

func (s stub) Build(ctx context.Context, env builders.Env) error {
	if s.build == nil {
		return nil
	}
	return s.build(ctx, env)
}

func (s stub) Gather(_ context.Context, _ builders.Env, add func(name string, content io.ReadCloser) error) error {
	if s.gather == nil {
		return nil
	}
	return s.gather(add)
}

// hooked is a fake target with a root directory and hooks.
type hooked struct {
	*fake.Target
	r *rig
}

func (h hooked) Root() string { return filepath.Join(h.r.home, "chroot-autobuild") }

func (h hooked) hook(ctx context.Context, name string) error {
	if f := h.r.hooks[name]; f != nil {
		return f(ctx)
	}
	return nil
}

func (h hooked) Stop(ctx context.Context) error {
	return errors.Join(h.Target.Stop(ctx), h.hook(ctx, "stop"))
}

func (h hooked) Remove(ctx context.Context) error {
	return errors.Join(h.Target.Remove(ctx), h.hook(ctx, "remove"))
}

// site runs commands on the target under the name of the host's user.
type site struct {
	name string
	*fake.Target
}

func (p site) Run(ctx context.Context, cmd backends.Command) error {
	cmd.Argv = append([]string{p.name}, cmd.Argv...)
	return p.Target.Run(ctx, cmd)
}

// newRig makes a build with every optional stage. It must be called in the
// bubble of the test, if it has one.
func newRig(t *testing.T) *rig {
	t.Helper()
	tmp := t.TempDir()
	r := &rig{
		T: t, target: fake.New(), hooks: map[string]func(context.Context) error{},
		dir: state.Build(filepath.Join(tmp, "cache", ".lpbuildd", "build")), home: filepath.Join(tmp, "home", "build-B-1"),
	}
	for _, dir := range []string{r.dir.Path(), filepath.Join(tmp, "home"), filepath.Join(tmp, "share")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tmp, "cache", "source"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	r.target.Script("host: gpg", fake.Answer{Stdout: "a keyring"}, fake.Answer{Stdout: "Key fingerprint = 5F07\n"})
	r.request = job.Request{
		BuildID: "B-1", Tag: "stub", Image: "image", Files: ordered.Map[string]{{Name: "hello.dsc", Value: "source"}}, Arch: "amd64",
		Args: map[string]any{
			"series": "noble", "build_url": "https://x.test/+b/7", "trusted_keys": []any{"b25l"},
			"archives": []any{"deb http://a.test/x noble main"},
		},
		Settings: job.Settings{
			Home: filepath.Join(tmp, "home"), FileCache: filepath.Join(tmp, "cache"), SharePath: filepath.Join(tmp, "share"),
			User: self.Username, AbortLimit: 2 * time.Minute,
		},
	}
	r.machine = machine{
		find: func(tag string) (builders.Type, error) {
			if tag != "stub" {
				return builders.Type{}, errors.New("unknown build type")
			}
			return builders.Type{Tag: "stub", Backend: "chroot", New: func(builders.Args, []string) (builders.Builder, error) { return r.stub, nil }}, nil
		},
		newTarget: func(place) (target, error) { return hooked{r.target, r}, nil },
		runners: func(account, string, func(backends.Stray)) (user, root backends.Runner) {
			return site{"host:", r.target}, site{"root:", r.target}
		},
		killAll: func(ctx context.Context) error {
			if r.kill == nil {
				return nil
			}
			return r.kill(ctx)
		},
		memory:   func(context.Context, target) (cgroup.Memory, error) { return r.memory, nil },
		refusals: func(context.Context, target) (int, error) { return r.refused, nil },
		stages:   stages(),
	}
	ctx, abort := context.WithCancelCause(t.Context())
	r.ctx, r.abort = func() context.Context { return ctx }, abort
	t.Cleanup(func() { abort(nil) })
	return r
}

// replace makes a stage do something else.
func (r *rig) replace(name Stage, run func(context.Context, *build) error) {
	r.Helper()
	i := slices.IndexFunc(r.machine.stages, func(s stage) bool { return s.name == name })
	if i < 0 {
		r.Fatalf("there is no stage %s", name)
	}
	r.machine.stages[i].run = run
}

// run runs the build.
func (r *rig) run() job.Outcome {
	tell := func(change func(*job.Event)) {
		r.mu.Lock()
		defer r.mu.Unlock()
		was := r.event.Stage
		change(&r.event)
		if r.event.Stage != was {
			r.stages = append(r.stages, r.event.Stage)
		}
	}
	return newBuild(r.dir, r.request, r.machine, tell, slog.New(slog.NewTextHandler(&r.daemon, nil))).run(r.ctx())
}

// log is the build log, without the folder of this test and the time stamps.
func (r *rig) log() string {
	r.Helper()
	data, err := os.ReadFile(filepath.Join(r.request.Settings.FileCache, "buildlog"))
	if err != nil {
		r.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), filepath.Dir(r.request.Settings.Home), "")
	stamp := regexp.MustCompile(`(?m)^\[\w{3} \w{3} [ 123]\d \d\d:\d\d:\d\d \d{4}\]\n(RUN: )`)
	if n := strings.Count(text, "RUN: "); n != len(stamp.FindAllString(text, -1)) {
		r.Errorf("a RUN: line has no time stamp:\n%s", text)
	}
	return stamp.ReplaceAllString(text, "$1")
}

// steps are the operations of the RUN: lines.
func (r *rig) steps() string {
	r.Helper()
	var names []string
	for line := range strings.Lines(r.log()) {
		words := strings.Fields(line)
		if !strings.HasPrefix(line, "RUN: ") {
			continue
		}
		name := filepath.Base(words[1])
		if name == "in-target" {
			name = words[2]
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// calls are the life cycle steps of the target.
func (r *rig) calls() string {
	var names []string
	for line := range strings.Lines(r.target.Transcript()) {
		switch word := strings.Fields(line)[0]; word {
		case "create", "start", "kill", "stop", "remove":
			if line[0] != ' ' {
				names = append(names, word)
			}
		}
	}
	return strings.Join(names, " ")
}

// ledger is what stands in the ledger, "none" if there is none.
func (r *rig) ledger() string {
	r.Helper()
	data, err := os.ReadFile(r.dir.Ledger())
	if errors.Is(err, os.ErrNotExist) {
		return "none"
	}
	if err != nil {
		r.Fatal(err)
	}
	return string(data)
}

// expectLog checks that the log has all these texts.
func (r *rig) expectLog(texts ...string) {
	r.Helper()
	log := r.log()
	for _, text := range texts {
		if !strings.Contains(log, text) {
			r.Errorf("the log has no %q:\n%s", text, log)
		}
	}
}

// store puts a file into the cache and returns its name there.
func (r *rig) store(content string) string {
	r.Helper()
	cache, err := filecache.Open(r.request.Settings.FileCache, filecache.Options{})
	if err != nil {
		r.Fatal(err)
	}
	stored, err := cache.Store(r.Context(), strings.NewReader(content))
	if err := errors.Join(err, cache.Close()); err != nil {
		r.Fatal(err)
	}
	return stored.SHA1
}

// exitCode is a command that fails.
func exitCode(code int) fake.Answer { return fake.Answer{Code: code} }
