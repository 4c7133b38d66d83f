package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/buildd/config"
	"lpbuildd/daemonlog"
	"lpbuildd/filecache"
	"lpbuildd/rpc"
)

// reloader is a service on a configuration file, without a port.
type reloader struct {
	*service
	t          *testing.T
	path, logs string
}

func newReloader(t *testing.T, text string) *reloader {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	r := &reloader{t: t, path: filepath.Join(dir, "buildd.conf"), logs: filepath.Join(dir, "log")}
	cache, err := filecache.Open(t.TempDir(), filecache.Options{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	t.Cleanup(func() { _ = cache.Close() })
	r.service = &service{cache: cache, load: func() (config.Config, []config.Origin, error) {
		return config.Load(config.Sources{File: r.path, Environ: func(string) (string, bool) { return "", false }})
	}}
	r.write(text)
	r.config, r.origins, err = r.load()
	must(err)
	r.log, err = daemonlog.Open(logSettings(r.config))
	must(err)
	r.access = rpc.Restrict(r.config.Allow, http.NotFoundHandler())
	r.daemon, err = buildd.New(t.Context(), buildd.Config{
		Cache: cache, Log: slog.New(slog.DiscardHandler),
		Launcher: buildd.Launcher{Supervise: []string{"false"}, Cleanup: []string{"true"}, Trash: []string{"true"}},
	})
	must(err)
	t.Cleanup(r.daemon.Close)
	return r
}

// write replaces the configuration.
func (r *reloader) write(text string) {
	r.t.Helper()
	head := "[log]\nfile = " + r.logs + "\n" + text
	text = strings.ReplaceAll(minimal, "@CACHE@", r.cache.Dir()) + head
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// logged returns the log since the last call.
func (r *reloader) logged() string {
	r.t.Helper()
	data, err := os.ReadFile(r.logs)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.Truncate(r.logs, 0); err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// stranger is what a caller from a network that nobody named gets.
func (r *reloader) stranger() int {
	w := httptest.NewRecorder()
	r.access.ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/", nil))
	return w.Code
}

func TestReloadChangesWhatCanChange(t *testing.T) {
	r := newReloader(t, "")
	if got := r.stranger(); got != http.StatusNotFound {
		t.Errorf("before the reload: %d", got)
	}
	r.write("level = debug\nformat = json\n[access]\nallow = 198.51.100.1\n[limits]\nwall = 1h\n")
	r.reload()
	if got := r.stranger(); got != http.StatusForbidden {
		t.Errorf("after the reload: %d", got)
	}
	got := r.logged()
	if !strings.Contains(got, `"changed":["limits.wall","log.level","log.format","access.allow"]`) {
		t.Errorf("the log: %s", got)
	}
	r.log.With("a", 1).Debug("Details")
	if got := r.logged(); !strings.Contains(got, `"msg":"Details","a":1}`) {
		t.Errorf("the log: %s", got)
	}
	r.reload()
	if got := r.logged(); !strings.Contains(got, `"changed":null`) && !strings.Contains(got, `"changed":[]`) {
		t.Errorf("nothing changed, but the log says %s", got)
	}
}

func TestReloadNamesWhatNeedsARestart(t *testing.T) {
	r := newReloader(t, "")
	text := strings.ReplaceAll(minimal, "@CACHE@", t.TempDir())
	text = strings.ReplaceAll(text, "8221", "8222") + "bindhost = 192.0.2.1\n[log]\nfile = " + r.logs + "\n"
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		r.reload()
		got := r.logged()
		for _, key := range []string{"builder.filecache", "builder.bindhost", "builder.bindport"} {
			if !strings.Contains(got, "needs a restart to take effect\" key="+key+"\n") {
				t.Errorf("the log does not name %s: %s", key, got)
			}
		}
	}
}

func TestReloadOfABrokenConfigurationChangesNothing(t *testing.T) {
	r := newReloader(t, "level = info\n")
	r.write("level = loud\n[limits]\nwall = soon\n[access]\nallow = 198.51.100.1\n")
	r.reload()
	got := r.logged()
	for _, want := range []string{"log.level", "limits.wall", "The old configuration stays in effect"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log has no %s: %s", want, got)
		}
	}
	if got := r.stranger(); got != http.StatusNotFound {
		t.Errorf("a stranger gets %d", got)
	}
	r.write("level = info\n")
	r.reload()
	if got := r.logged(); !strings.Contains(got, "changed=[]") {
		t.Errorf("the log: %s", got)
	}
}

func TestReloadOpensTheLogAnew(t *testing.T) {
	r := newReloader(t, "")
	r.log.Info("Old")
	if err := os.Rename(r.logs, r.logs+".1"); err != nil {
		t.Fatal(err)
	}
	r.write("broken")
	r.reload()
	r.log.Info("New")
	if got := r.logged(); strings.Contains(got, "Old") || !strings.Contains(got, "New") {
		t.Errorf("the new file: %s", got)
	}
	info, err := os.Stat(r.logs)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := errors.Join(os.RemoveAll(r.logs), os.Mkdir(r.logs, 0o755)); err != nil {
		t.Fatal(err)
	}
	r.reload()
	r.log.Info("Still")
	if err := errors.Join(os.RemoveAll(r.logs)); err != nil {
		t.Fatal(err)
	}
}
