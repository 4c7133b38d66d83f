package main

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"sync"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/verdict"
	"lpbuildd/rpc"
	"lpbuildd/rpc/wire"
)

// fakeBuilder is a builder behind the real server. A build goes one step of
// its script further with each question for the status.
type fakeBuilder struct {
	url string

	mu      sync.Mutex // guards what follows
	status  buildd.Status
	request buildd.Request
	cache   map[string][]byte
	log     []byte
	script  []func(*fakeBuilder)
	calls   []string
	gone    bool // it does not answer any more
	asked   int  // how often it was asked since
}

func newFakeBuilder(t *testing.T, script ...func(*fakeBuilder)) *fakeBuilder {
	t.Helper()
	f := &fakeBuilder{status: buildd.Status{State: buildd.Idle, Version: "1.0"}, cache: map[string][]byte{}, script: script}
	handler := rpc.NewServer(f, f, http.HandlerFunc(f.serveFile), slog.New(slog.DiscardHandler))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		gone := f.gone
		if gone {
			f.asked++
		}
		f.mu.Unlock()
		if gone {
			panic(http.ErrAbortHandler)
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *fakeBuilder) Info() buildd.Info {
	return buildd.Info{Arch: "riscv64", Tags: []string{"binarypackage", "snap", "oci", "sourcepackagerecipe", "livefs"}}
}

func (f *fakeBuilder) ProxyInfo() (buildd.ProxyInfo, error) { return buildd.ProxyInfo{}, nil }

func (*fakeBuilder) Told(buildd.Status) {}

func (f *fakeBuilder) Status() buildd.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	running := f.status.State == buildd.Building || f.status.State == buildd.Aborting
	if running && len(f.script) > 0 {
		step := f.script[0]
		f.script = f.script[1:]
		step(f)
	}
	return f.status
}

func (f *fakeBuilder) EnsurePresent(ctx context.Context, sum string, src buildd.Source) (buildd.Presence, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.cache[sum]; ok {
		return buildd.Presence{Present: true, Info: "Cache"}, nil
	}
	if src.URL == nil {
		return buildd.Presence{Info: "No URL"}, nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, *src.URL, http.NoBody)
	if err != nil {
		return buildd.Presence{}, err
	}
	r.SetBasicAuth(src.Username, src.Password)
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		return buildd.Presence{Info: "Error accessing Librarian: " + err.Error()}, nil
	}
	content, err := io.ReadAll(reply.Body)
	if err != nil || reply.Body.Close() != nil || sha1Of(content) != sum {
		return buildd.Presence{Info: "Digests did not match, removing again!"}, err
	}
	f.cache[sum] = content
	return buildd.Presence{Present: true, Info: "Download"}, nil
}

func (f *fakeBuilder) Build(_ context.Context, r buildd.Request) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "build")
	if r.Tag == "unknown" {
		return &buildd.UnknownTypeError{Tag: r.Tag, Known: f.Info().Tags}
	}
	if _, ok := f.cache[r.Image]; !ok {
		return &buildd.UnknownSumError{Sum: r.Image}
	}
	f.request = r
	f.status.State, f.status.BuildID, f.status.LogTail = buildd.Building, r.BuildID, []byte{}
	return nil
}

func (f *fakeBuilder) Abort(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "abort")
	if f.status.State != buildd.Building {
		return &buildd.StateError{State: f.status.State, Event: buildd.Abort}
	}
	f.status.State = buildd.Aborting
	f.script = []func(*fakeBuilder){nothing, logs("Aborted.\n"), ends("ABORTED", nil)}
	return nil
}

func (f *fakeBuilder) Clean(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, "clean")
	if f.status.State != buildd.Waiting {
		return &buildd.StateError{State: f.status.State, Event: buildd.Clean}
	}
	f.status = buildd.Status{State: buildd.Idle}
	return nil
}

// called are the calls that change something, so far.
func (f *fakeBuilder) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.calls...)
}

func (f *fakeBuilder) serveFile(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	content, ok := f.cache[path.Base(r.URL.Path)]
	if path.Base(r.URL.Path) == wire.BuildLog {
		content, ok = f.log, f.log != nil
	}
	f.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

func nothing(*fakeBuilder) {}

// logs is a step that logs a text.
func logs(text string) func(*fakeBuilder) {
	return func(f *fakeBuilder) { f.log = append(f.log, text...) }
}

// ends is the last step of a build. Results are contents by name.
func ends(outcome string, results map[string]string) func(*fakeBuilder) {
	return func(f *fakeBuilder) {
		f.status.State, f.status.Outcome, f.status.FileMap = buildd.Waiting, verdict.Outcome(outcome), map[string]string{}
		if outcome == "DEPFAIL" {
			f.status.Dependencies = "libfoo-dev (>= 2)"
		}
		for name, content := range results {
			f.status.FileMap[name] = sha1Of([]byte(content))
			f.cache[sha1Of([]byte(content))] = []byte(content)
		}
	}
}

func sha1Of(content []byte) string {
	sum := sha1.Sum(content)
	return hex.EncodeToString(sum[:])
}

// lpbuild runs a command line against the builder, which is asked again at once.
func (f *fakeBuilder) lpbuild(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := &app{poll: time.Nanosecond, out: newPrinter(&out, &errs)}
	code = a.run(ctx, append(args, "--url", f.url))
	return code, out.String(), errs.String()
}
