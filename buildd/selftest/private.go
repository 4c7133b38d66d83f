package selftest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/filecache"
	"lpbuildd/rpc/client"
)

// private is a daemon of the same configuration, in a folder of its own. A
// manager that polls the builder meanwhile does not see its build: it would take
// a builder that builds for nobody for a broken one.
type private struct {
	*tester
	dir     string
	builder *client.Client
	stop    func()
	said    *lastLines
}

const (
	// startWait is how long the daemon may take to listen.
	startWait = 20 * time.Second
	// stopWait is how long the end of everything may take.
	stopWait = 3 * time.Minute
)

// newPrivate starts the daemon, as the user of the real one. It must be closed,
// even after an error.
func (t *tester) newPrivate(ctx context.Context) (*private, error) {
	p := &private{tester: t, stop: func() {}, said: &lastLines{}}
	if err := p.makeFolders(); err != nil {
		return p, fmt.Errorf("cannot make a folder for the build: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	r, w := io.Pipe()
	ended := make(chan error, 1)
	host := t.owner
	host.Home, host.Dir = p.home(), p.home()
	env := append(configuring(os.Environ()), "LANG=C.UTF-8")
	if t.Helper != "" {
		env = append(env, t.HelperVariable+"="+t.Helper)
	}
	go func() {
		err := host.Run(ctx, backends.Command{Argv: p.command(), Env: env, Stderr: w})
		ended <- err
		_ = w.CloseWithError(io.EOF)
	}()
	listening := make(chan string, 1)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		p.said.read(r, listening)
	}()
	p.stop = func() {
		cancel(errors.New("the test is over"))
		<-drained
	}
	select {
	case address := <-listening:
		var err error
		p.builder, err = client.New("http://" + address)
		return p, err
	case err := <-ended:
		p.stop()
		return p, fmt.Errorf("the daemon does not start: %w: %s", err, p.said)
	case <-time.After(startWait):
		p.stop()
		return p, fmt.Errorf("the daemon does not listen after %v: %s", startWait, p.said)
	}
}

func (p *private) home() string  { return filepath.Join(p.dir, "home") }
func (p *private) cache() string { return filepath.Join(p.dir, "cache") }

// makeFolders makes what the daemon needs, where real builds would be too.
func (p *private) makeFolders() error {
	parent := p.Settings.Home
	if p.Owner.Uid == "0" {
		parent = "/var/tmp" // root's own folder is closed to the build user
	}
	var err error
	if p.dir, err = os.MkdirTemp(parent, ".selftest-"); err != nil {
		return err
	}
	uid, gid := int(p.owner.UID), int(p.owner.GID)
	errs := []error{os.Chmod(p.dir, 0o755)} // the build user must get through
	for _, dir := range []string{p.home(), p.cache()} {
		errs = append(errs, os.Mkdir(dir, 0o755))
	}
	for _, dir := range []string{p.dir, p.home(), p.cache()} {
		if p.Root {
			errs = append(errs, os.Chown(dir, uid, gid))
		}
	}
	return errors.Join(errs...)
}

// command is that of the daemon. What is overridden would send the build
// elsewhere, disturb another one, or leave something.
func (p *private) command() []string {
	argv := append([]string{p.Program, "serve"}, p.Config...)
	for _, set := range []string{
		"builder.filecache=" + p.cache(), "builder.sharepath=" + p.Settings.SharePath,
		"builder.bindhost=127.0.0.1", "builder.bindport=0", "builder.ntphost=",
		"proxy.apt=", "access.allow=", "backend.instance=selftest", "keep.failed=0",
		"log.level=info", "log.format=json", "log.file=",
	} {
		argv = append(argv, "--set", set)
	}
	return argv
}

// close ends the daemon and removes everything.
func (p *private) close(ctx context.Context) error {
	p.stop()
	if p.builder != nil {
		p.builder.Close()
	}
	if p.dir == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
	defer cancel()
	folder := state.Folder(filecache.StateDirOf(p.cache()))
	var errs []error
	if build := folder.Build().Path(); exists(build) {
		errs = append(errs, backends.Host{Dir: build}.Run(ctx, backends.Command{Argv: p.Launcher.Cleanup, Env: configuring(os.Environ())}))
	}
	// Nothing may be kept, and no container engine has anything of it.
	_, err := p.Launcher.AskStock(ctx, folder, job.StockRequest{Do: job.StockCollect, Container: noEngine()})
	errs = append(errs, err, os.RemoveAll(p.dir))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cannot remove %s: %w", p.dir, err)
	}
	return nil
}

// configuring are the variables of an environment that change the configuration.
func configuring(environ []string) []string {
	return slices.DeleteFunc(environ, func(kv string) bool { return !strings.HasPrefix(kv, "LPBUILDD_") })
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// lastLines are the last things that a daemon said.
type lastLines struct{ lines []string }

const keptLines = 5

// read keeps the last lines of a log in JSON, and tells the address on which the
// daemon listens.
func (l *lastLines) read(r io.Reader, listening chan<- string) {
	lines := bufio.NewReader(r)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil && len(text) == 0 {
			return
		}
		var line struct{ Msg, Address, Error string }
		if json.Unmarshal(text, &line) != nil {
			line.Msg = string(text)
		}
		if line.Msg == "Listening" {
			listening <- line.Address
			continue
		}
		l.lines = append(l.lines, strings.TrimSpace(line.Msg+" "+line.Error))
		l.lines = l.lines[max(0, len(l.lines)-keptLines):]
	}
}

// String is what was said. It may be called when the daemon has ended.
func (l *lastLines) String() string {
	if len(l.lines) == 0 {
		return "it said nothing"
	}
	return strconv.Quote(strings.Join(l.lines, "; "))
}

// noEngine keeps a request from the container engine, which has nothing of these
// builds.
func noEngine() job.Container { return job.Container{Socket: "/nonexistent"} }
