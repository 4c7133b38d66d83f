//go:build integration

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

const (
	// patience is how long anything may take that must happen at all, on a machine
	// that is as busy as can be: it is a limit for what hangs.
	patience = 10 * time.Minute
	// restartLimit is how soon a restarted daemon tells the truth, also on a busy
	// machine. It is less than what a daemon waits for that waits for the wrong thing.
	restartLimit = 20 * time.Second
	// pollPause is the pause between two questions.
	pollPause = 10 * time.Millisecond
)

// builder is a daemon in a folder of its own, and what a manager needs to
// drive it. Its methods end the test when something fails; they must be called
// from its goroutine.
type builder struct {
	t       *testing.T
	program string
	dir     string // everything of this builder; HOME, the cache and the log are in it
	home    string
	cache   string
	port    int
	user    string // "buildd" or "root"
	client  *client.Client
	origin  *origin

	known map[string]bool // the files that belong into the cache
	*daemon
}

// daemon is the process of a builder, one after the other.
type daemon struct {
	cmd    *exec.Cmd
	gone   chan struct{}   // closed when it has ended
	starts []time.Duration // from each start to the first answer
}

// within is the same builder for a part of the test.
func (b *builder) within(t *testing.T) *builder {
	part := *b
	part.t = t
	return &part
}

// options are what builders differ in.
type options struct {
	// user is who the daemon runs as; "" is root.
	user string
	// config is added to the configuration, e.g. "[limits]\nwall = 1s\n".
	config string
	// homeBytes and cacheBytes put HOME or the cache on a disk of that size,
	// diskBytes both and everything else.
	homeBytes, cacheBytes, diskBytes int64
	// inodes is how many files such a disk takes; 0 is a matter of its size.
	inodes int
}

// newBuilder starts a daemon. Whatever is left of it ends with the test.
func newBuilder(t *testing.T, o options) *builder {
	t.Helper()
	needRoot(t)
	needPrograms(t, "sbuild", "schroot", "dpkg-source", "setarch")
	dir, err := os.MkdirTemp("/var/tmp", "lpbuildd-e2e-")
	must(t, err)
	b := &builder{
		t: t, program: os.Getenv(programVariable), dir: dir, user: o.user,
		home: filepath.Join(dir, "home"), cache: filepath.Join(dir, "cache"),
		port: freePort(t), known: map[string]bool{}, daemon: &daemon{},
	}
	t.Cleanup(b.destroy)
	b.makeFolders(o)
	b.configure(o.config)
	b.client, err = client.New(fmt.Sprintf("http://127.0.0.1:%d", b.port))
	must(t, err)
	b.origin = newOrigin(t)
	b.start()
	return b
}

// makeFolders makes what the daemon expects to find.
func (b *builder) makeFolders(o options) {
	owner := account(b.t, "buildd")
	b.makeDisk(b.dir, o.diskBytes, o.inodes)
	must(b.t, os.Chmod(b.dir, 0o755))
	for path, size := range map[string]int64{b.home: o.homeBytes, b.cache: o.cacheBytes} {
		must(b.t, os.Mkdir(path, 0o755))
		b.makeDisk(path, size, o.inodes)
		must(b.t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
	// A copy, so that tests may put programs of their own beside the files.
	must(b.t, os.CopyFS(filepath.Join(b.dir, "share"), os.DirFS(inTree("etc"))))
}

// makeDisk mounts a small disk on a folder of the builder.
func (b *builder) makeDisk(path string, size int64, inodes int) {
	if size == 0 {
		return
	}
	data := fmt.Sprintf("size=%d,mode=0755", size)
	if inodes > 0 {
		data += fmt.Sprintf(",nr_inodes=%d", inodes)
	}
	must(b.t, syscall.Mount("none", path, "tmpfs", 0, data))
}

// configure writes the configuration. A daemon that runs does not notice.
func (b *builder) configure(more string) {
	text := fmt.Sprintf("[builder]\narchitecturetag = %s\nfilecache = %s\nbindhost = 127.0.0.1\nbindport = %d\nsharepath = %s\n\n%s",
		hostArch(b.t), b.cache, b.port, filepath.Join(b.dir, "share"), more)
	must(b.t, os.WriteFile(filepath.Join(b.dir, "config"), []byte(text), 0o644))
}

// launch starts the daemon and does not wait.
func (b *builder) launch() {
	b.t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(b.t.Context()), b.program, "serve", "--config", filepath.Join(b.dir, "config"))
	cmd.Dir = b.home
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + b.home, "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if b.user != "" && b.user != "root" {
		allowHelpers(b.t, b.program)
		cmd.SysProcAttr.Credential = account(b.t, b.user)
	}
	// A file, and no pipe that children would hold open after the test.
	log, err := os.OpenFile(filepath.Join(b.dir, "daemon.log"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	must(b.t, err)
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	must(b.t, cmd.Start())
	b.cmd, b.gone = cmd, make(chan struct{})
	go func(gone chan struct{}) {
		_ = cmd.Wait() // killed, as a rule
		close(gone)
	}(b.gone)
}

// start starts the daemon and returns its first answer.
func (b *builder) start() buildd.Status {
	b.t.Helper()
	began := time.Now()
	b.launch()
	var st buildd.Status
	b.eventually("the daemon answers", func() bool {
		select {
		case <-b.gone:
			b.t.Fatalf("the daemon ended: %v", b.cmd.ProcessState)
		default:
		}
		ctx, cancel := context.WithTimeout(b.t.Context(), patience)
		defer cancel()
		var err error
		st, err = b.client.Status(ctx)
		return err == nil
	})
	b.starts = append(b.starts, time.Since(began))
	return st
}

// kill kills the daemon, and nothing else.
func (b *builder) kill() {
	b.t.Helper()
	_ = b.cmd.Process.Kill() // it may be dead already
	<-b.gone
	b.client.Close()
}

// restart kills the daemon and starts it again.
func (b *builder) restart() buildd.Status {
	b.t.Helper()
	b.kill()
	return b.start()
}

// destroy ends everything that the builder has started and removes its folder.
func (b *builder) destroy() {
	if b.t.Failed() {
		b.report()
	}
	if b.cmd != nil {
		b.kill()
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(pollPause) {
		left := b.processes()
		for _, p := range left {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		if len(left) == 0 {
			break
		}
	}
	for _, path := range b.schrootFiles() {
		_ = os.Remove(path)
	}
	for _, path := range []string{b.home, b.cache, b.dir} {
		_ = syscall.Unmount(path, 0) // most are no mounts
	}
	if mounts := b.mounts(); len(mounts) > 0 {
		b.t.Errorf("not removed, because there are mounts in it: %s: %v", b.dir, mounts)
		return
	}
	if err := os.RemoveAll(b.dir); err != nil {
		b.t.Error(err)
	}
}

// report shows what helps to understand a failure.
func (b *builder) report() {
	for _, name := range []string{filepath.Join(b.dir, "daemon.log"), filepath.Join(b.cache, "buildlog")} {
		data, err := os.ReadFile(name)
		if err == nil {
			b.t.Logf("the end of %s:\n%s", name, data[max(0, len(data)-6000):])
		}
	}
	for _, p := range b.processes() {
		b.t.Logf("process %s", p)
	}
}

// eventually asks again and again until the answer is yes.
func (b *builder) eventually(what string, yes func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(patience)
	for !yes() {
		if time.Now().After(deadline) {
			b.t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(pollPause)
	}
}

// allowHelpers lets the user buildd start the privileged helpers, and nothing
// else, until the test ends.
func allowHelpers(t *testing.T, program string) {
	t.Helper()
	// sudo ignores files with a dot in their name.
	path := "/etc/sudoers.d/" + strings.ReplaceAll(filepath.Base(filepath.Dir(program)), ".", "-")
	if _, err := os.Stat(path); err == nil {
		return
	}
	rule := fmt.Sprintf("buildd ALL=(root) NOPASSWD: %[1]s supervise, %[1]s cleanup, %[1]s empty-trash, %[1]s stock\n", program)
	t.Cleanup(func() { _ = os.Remove(path) })
	must(t, os.WriteFile(path, []byte(rule), 0o440))
}

func account(t *testing.T, name string) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Skipf("needs the user %s: %v", name, err)
	}
	groups, err := u.GroupIds()
	must(t, err)
	var ids []uint32
	for _, text := range append([]string{u.Uid, u.Gid}, groups...) {
		id, err := strconv.ParseUint(text, 10, 32)
		must(t, err)
		ids = append(ids, uint32(id))
	}
	return &syscall.Credential{Uid: ids[0], Gid: ids[1], Groups: ids[2:]}
}

// freePort is a port that nobody uses, and that the kernel gives to nobody who
// just connects: daemons come back to it, again and again.
func freePort(t *testing.T) int {
	t.Helper()
	for {
		port := 20_000 + rand.IntN(10_000)
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err == nil {
			must(t, ln.Close())
			return port
		}
	}
}

func hostArch(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "dpkg", "--print-architecture").Output()
	if err != nil {
		t.Skipf("needs dpkg: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("needs %s: %v", name, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
