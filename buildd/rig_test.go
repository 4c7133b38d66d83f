package buildd_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a daemon in a bubble with a clock of its own, whose helpers are goroutines
// (root), and what its tests need. After each step of a test, all that follows from
// it without the clock has happened.
type rig struct {
	*buildd.Daemon
	t       *testing.T
	config  buildd.Config
	image   string
	root    *helpers
	log     *lines
	changes *counter
}

// inBubble runs a test with a new daemon.
func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newRig(t)) })
}

func newRig(t *testing.T) *rig {
	t.Helper()
	cache, err := filecache.Open(t.TempDir(), filecache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	anything := func(map[string]any, []string) error { return nil }
	r := &rig{t: t, root: &helpers{t: t}, log: &lines{}, changes: &counter{}}
	r.config = buildd.Config{
		Arch: "amd64", Version: "1.2",
		Types: []buildd.Type{
			{Tag: "binarypackage", NoProxyInfo: true, Check: func(args map[string]any, _ []string) error {
				if args["script"] == nil {
					return errors.New("script is required")
				}
				return nil
			}},
			{Tag: "snap", Sanitize: true, Check: anything},
			{Tag: "ci", Extra: map[string]any{"jobs": "none"}, Check: anything},
		},
		Settings: job.Settings{AbortLimit: 2 * time.Minute}, AbortGrace: 10 * time.Second,
		Cache: cache, Launcher: r.root, Changed: r.changes.add,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	r.image = r.store("a base image")
	r.start()
	t.Cleanup(func() {
		r.Close()
		r.root.killAll()
		if err := cache.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.Daemon, err = buildd.New(r.t.Context(), r.config); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// restart stands for a daemon that was killed: nothing is said to anyone.
func (r *rig) restart() {
	r.t.Helper()
	r.Close()
	r.start()
}

// pass lets time go by.
func (r *rig) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (r *rig) store(content string) string {
	r.t.Helper()
	s, err := r.config.Cache.Store(r.t.Context(), strings.NewReader(content))
	if err != nil {
		r.t.Fatal(err)
	}
	return s.SHA1
}

// request is a call to build what a scripted supervisor does.
func (r *rig) request(script string, change ...func(*buildd.Request)) buildd.Request {
	request := buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": script}}
	for _, c := range change {
		c(&request)
	}
	return request
}

// adds has a build that succeeds add this to the cache.
func adds(sum string) func(*buildd.Request) {
	return func(r *buildd.Request) { r.Args["result"] = sum }
}

func (r *rig) build(script string, change ...func(*buildd.Request)) {
	r.t.Helper()
	r.pass(time.Millisecond) // no two builds begin at the same time
	if err := r.Build(r.t.Context(), r.request(script, change...)); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) abort() {
	r.t.Helper()
	if err := r.Abort(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

func (r *rig) clean() {
	r.t.Helper()
	if err := r.Clean(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
}

// finish ends a build that waits, and cleans the builder.
func (r *rig) finish() {
	r.t.Helper()
	r.abort()
	r.is(buildd.Waiting)
	r.clean()
}

// is checks the state of the builder.
func (r *rig) is(state buildd.State) buildd.Status {
	r.t.Helper()
	s := r.Status()
	if s.State != state {
		r.t.Fatalf("the builder is not %s: %+v; its log:\n%s", state, s, r.log)
	}
	return s
}

// lose kills a build while no daemon runs, and starts one.
func (r *rig) lose() {
	r.t.Helper()
	r.Close()
	r.root.killAll()
	r.start()
	r.is(buildd.Idle)
}

func (r *rig) has(sum string) bool {
	ok, err := r.config.Cache.Present(r.t.Context(), sum)
	return ok && err == nil
}

// state is the state folder.
func (r *rig) state() state.Folder { return state.Folder(r.config.Cache.StateDir()) }

// inState is a path in the state folder.
func (r *rig) inState(names ...string) string {
	return filepath.Join(append([]string{r.config.Cache.StateDir()}, names...)...)
}

func (r *rig) write(path, content string) {
	r.t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// buildLog is what stands in the log of the build.
func (r *rig) buildLog() string {
	r.t.Helper()
	log, err := os.ReadFile(filepath.Join(r.config.Cache.Dir(), "buildlog"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.t.Fatal(err)
	}
	return string(log)
}

// opened is how often a file of the cache is open.
func opened(r *rig, name string) (n int) {
	r.t.Helper()
	open, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, fd := range open {
		if to, err := os.Readlink(fd); err == nil && to == filepath.Join(r.config.Cache.Dir(), name) {
			n++
		}
	}
	return n
}

// found has a daemon find a state folder in which a build was running.
func (r *rig) found(prepare func()) {
	r.t.Helper()
	r.Close()
	r.journal(map[string]any{"state": "BUILDING", "build_id": "B-1", "tag": "binarypackage"})
	prepare()
	r.start()
}

// journal writes a journal.
func (r *rig) journal(j map[string]any) {
	r.t.Helper()
	if err := disk.WriteJSON(r.inState("journal.json"), j); err != nil {
		r.t.Fatal(err)
	}
}

// breakJournal puts a folder in the place of the journal; the returned function
// takes it away.
func (r *rig) breakJournal() (repair func()) {
	r.t.Helper()
	path := r.inState("journal.json")
	if err := errors.Join(os.Remove(path), os.MkdirAll(filepath.Join(path, "folder"), 0o700)); err != nil {
		r.t.Fatal(err)
	}
	return func() {
		r.t.Helper()
		if err := os.RemoveAll(path); err != nil {
			r.t.Fatal(err)
		}
	}
}

// leftovers lists what a build left in its folder.
func (r *rig) leftovers() []string {
	r.t.Helper()
	entries, err := os.ReadDir(r.inState("build"))
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		switch e.Name() {
		case "socket", "outcome.json", disk.ReserveName, "limits.json", "accepted.json", "builder.json":
		default:
			names = append(names, e.Name())
		}
	}
	return names
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write adds to the log.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is all of it.
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// count is how often a text stands in the log.
func (l *lines) count(text string) int { return strings.Count(l.String(), text) }

// counter counts.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}
