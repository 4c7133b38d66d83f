//go:build integration

package e2e

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/client"
)

// benchDaemon is a daemon in a process of its own, started like an installed
// one: as the user buildd, with a sudo rule for its privileged helpers.
type benchDaemon struct {
	dir    string // see .ci/daemon
	host   string // host:port
	client *client.Client
}

// startDaemon builds the program and starts it on a free port. At the end it
// must have left nothing behind.
func startDaemon(b *testing.B) *benchDaemon {
	b.Helper()
	if os.Geteuid() != 0 {
		b.Skip("needs root: it starts a daemon that makes chroots")
	}
	dir, err := os.MkdirTemp("/var/tmp", "lpbuildd-bench-")
	must(b, err)
	must(b, os.Chmod(dir, 0o755))
	d := &benchDaemon{dir: dir}
	repository(b, "make", "--silent", "build")
	repository(b, ".ci/daemon", "setup", dir)
	b.Cleanup(func() {
		repository(b, ".ci/daemon", "teardown", dir)
		must(b, os.RemoveAll(dir))
	})
	repository(b, ".ci/daemon", "start", dir, "buildd")
	b.Cleanup(func() {
		repository(b, ".ci/daemon", "stop", dir)
		repository(b, ".ci/daemon", "leftovers", dir)
	})
	url := strings.TrimSpace(read(b, filepath.Join(dir, "url")))
	d.host = strings.TrimPrefix(url, "http://")
	d.client, err = client.New(url)
	must(b, err)
	b.Cleanup(d.client.Close)
	return d
}

// repository runs a command in the folder of the repository.
func repository(b *testing.B, argv ...string) {
	b.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), argv[0], argv[1:]...)
	cmd.Dir = inTree()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

func (d *benchDaemon) home() string  { return filepath.Join(d.dir, "home") }
func (d *benchDaemon) cache() string { return filepath.Join(d.home(), "filecache-default") }

// memory is a value of /proc/<pid>/status of the daemon, such as VmRSS, in MiB.
func (d *benchDaemon) memory(b *testing.B, key string) float64 {
	b.Helper()
	for line := range strings.Lines(read(b, d.proc(b, "status"))) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			must(b, err)
			return float64(kib) / 1024
		}
	}
	b.Fatalf("the daemon's status has no %s", key)
	return 0
}

// resetPeak makes VmHWM begin again at VmRSS, see proc(5).
func (d *benchDaemon) resetPeak(b *testing.B) {
	b.Helper()
	must(b, os.WriteFile(d.proc(b, "clear_refs"), []byte("5"), 0))
}

func (d *benchDaemon) proc(b *testing.B, name string) string {
	b.Helper()
	return filepath.Join("/proc", strings.TrimSpace(read(b, filepath.Join(d.dir, "pid"))), name)
}

// ensure makes the daemon download a file that it does not have.
func (d *benchDaemon) ensure(b *testing.B, sum, url string) {
	b.Helper()
	p, err := d.client.EnsurePresent(b.Context(), sum, buildd.Source{URL: &url})
	must(b, err)
	if p != (buildd.Presence{Present: true, Info: "Download"}) {
		b.Fatalf("ensurepresent: %+v", p)
	}
}

// offer makes the daemon download a file, and returns its SHA-1.
func (d *benchDaemon) offer(b *testing.B, path string) string {
	b.Helper()
	f, err := os.Open(path)
	must(b, err)
	defer func() { _ = f.Close() }()
	sum := sha1.New()
	_, err = io.Copy(sum, f)
	must(b, err)
	name := hex.EncodeToString(sum.Sum(nil))
	d.ensure(b, name, serveFiles(b, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, path) }))
	return name
}

// serveFiles serves on loopback until the benchmark ends, and returns the URL.
func serveFiles(b *testing.B, handler http.HandlerFunc) string {
	b.Helper()
	ln, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	must(b, err)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(ln) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + ln.Addr().String() + "/"
}

// build starts a build of a package; extra replaces or adds arguments.
func (d *benchDaemon) build(b *testing.B, image string, files map[string]string, extra map[string]any) {
	b.Helper()
	args := map[string]any{
		"arch_tag": runtime.GOARCH, "series": "bookworm", "suite": "bookworm", "ogrecomponent": "main",
		"archive_purpose": "PRIMARY", "build_url": "https://builds.example/1", "image_type": "chroot",
	}
	maps.Copy(args, extra)
	must(b, d.client.Build(b.Context(), buildd.Request{
		BuildID: "PACKAGEBUILD-1", Tag: "binarypackage", Image: image, Files: ordered.Sorted(files), Args: args,
	}))
}

// await polls until the status is as wished.
func (d *benchDaemon) await(b *testing.B, poll time.Duration, wished func(buildd.Status) bool) buildd.Status {
	b.Helper()
	ctx := context.WithoutCancel(b.Context())
	tick := time.NewTicker(poll)
	defer tick.Stop()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	for {
		st, err := d.client.Status(ctx)
		must(b, err)
		if wished(st) {
			return st
		}
		select {
		case <-limit.C:
			b.Fatalf("the daemon is still %s\n%s\n%s", st.State, st.LogTail, read(b, filepath.Join(d.dir, "daemon.log")))
		case <-tick.C:
		}
	}
}

func isState(want buildd.State) func(buildd.Status) bool {
	return func(st buildd.Status) bool { return st.State == want }
}

func read(b *testing.B, path string) string {
	b.Helper()
	data, err := os.ReadFile(path)
	must(b, err)
	return string(data)
}

// blob is content of any size without a file: the same random mebibyte over
// and over.
type blob struct {
	block [1 << 20]byte
	size  int64
}

// newBlob makes content of a whole number of mebibytes.
func newBlob(mebibytes int64) *blob {
	c := &blob{size: mebibytes << 20}
	for i := range c.block {
		c.block[i] = byte(i * i >> 7)
	}
	return c
}

func (c *blob) sha1() string {
	sum := sha1.New()
	for range c.size >> 20 {
		sum.Write(c.block[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// ServeHTTP implements http.Handler.
func (c *blob) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", fmt.Sprint(c.size))
	for range c.size >> 20 {
		if _, err := w.Write(c.block[:]); err != nil {
			return
		}
	}
}
