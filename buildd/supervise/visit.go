package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/chroot"
	"lpbuildd/backends/incus"
	"lpbuildd/backends/terminal"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/namespace"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// visit is what somebody wants to do in something that is kept.
type visit struct {
	Record kept.Record `json:"record"`
	// State is the state folder that it is kept in.
	State state.Folder `json:"state"`
	// Argv is the command; a shell without one.
	Argv []string `json:"argv,omitempty"`
	// Interactive says that standard input and output are a raw terminal.
	Interactive bool     `json:"interactive,omitempty"`
	Env         []string `json:"env,omitempty"`
}

// errExpired ends a visit.
var errExpired = errors.New("the kept build has expired and is removed")

// errEnded is the end of a visit that somebody else has brought about.
var errEnded = errors.New("the visit was ended by force: the kept build is removed, because its time is over or the disk is short")

// Visit runs a command, or a shell, in what is kept of a build, on this
// process's standard input and output. by is who wants that. A command that
// fails is a *backends.ExitError. The visit ends when the target expires.
func Visit(ctx context.Context, folder state.Folder, name, by string, argv []string, log *slog.Logger) error {
	builds, err := ownBuilds(folder)
	if err != nil {
		return err
	}
	r, err := builds.Find(name)
	if err != nil {
		return err
	}
	if r.Due(time.Now()) {
		return fmt.Errorf("cannot enter %s: %w", r.BuildID, errExpired)
	}
	lock, err := builds.Lock(r.ID)
	switch {
	case errors.Is(err, disk.ErrLocked):
		if v, inside := builds.Visitor(r.ID); inside {
			err = fmt.Errorf("%s is inside, and there is room for one", v)
		}
		return fmt.Errorf("cannot enter %s: %w", r.BuildID, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot enter %s: it was removed just now", r.BuildID)
	case err != nil:
		return err
	}
	defer func() { _ = lock.Unlock() }() // the lock ends with this process anyway
	builds.Log(ctx, log, "Kept build entered", r, "by", by, "command", argv)
	ctx, cancel := context.WithDeadlineCause(ctx, r.Expires, errExpired)
	defer cancel()
	v := visit{Record: r, State: folder, Argv: argv, Interactive: terminal.Is(os.Stdin) && terminal.Is(os.Stdout)}
	err = v.begin(ctx, lock, by)
	builds.Log(ctx, log, "Kept build left", r, "by", by)
	return err
}

// begin makes the terminal raw for as long as the visit takes.
func (v visit) begin(ctx context.Context, lock *kept.Lock, by string) error {
	if v.Interactive {
		restore, err := terminal.MakeRaw(os.Stdin)
		if err != nil {
			return err
		}
		defer restore()
		v.Env = []string{"TERM=" + os.Getenv("TERM")}
	}
	here := func(p state.Process, err error) error {
		if err != nil {
			return err
		}
		return lock.Enter(kept.Visitor{By: by, Since: time.Now(), Process: p})
	}
	run := v.inNamespaces
	if v.Record.Container != "" {
		run = v.inContainer
	}
	err := run(ctx, here)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// inNamespaces visits a chroot in new namespaces, as a build has them. They end
// with this process, or when their first process is killed, of which here is
// told.
func (v visit) inNamespaces(ctx context.Context, here func(state.Process, error) error) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	// The parent-death signal is tied to the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", RoleVisitInit, string(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _, _ = gate.Close(), open.Close() }()
	cmd.ExtraFiles = []*os.File{gate}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot make namespaces (needs root): %w", err)
	}
	if err := here(state.Identify(cmd.Process.Pid)); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	_ = open.Close() // and it goes on
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return &backends.ExitError{Argv: v.words(), Code: exit.ExitCode()}
	}
	if errors.As(err, &exit) {
		return errEnded
	}
	return err
}

// inContainer visits a container.
func (v visit) inContainer(ctx context.Context, here func(state.Process, error) error) error {
	if err := here(state.Identify(os.Getpid())); err != nil {
		return err
	}
	cfg := leftovers.KeptEngine((v.Record))
	cfg.Series, cfg.Arch = v.Record.Series, v.Record.Arch
	in := incus.Visit{Argv: v.words(), Env: v.Env, Stdout: os.Stdout, Stderr: os.Stderr}
	if v.Interactive {
		in.Terminal = os.Stdin
	}
	if v.Interactive || !terminal.Is(os.Stdin) {
		in.Stdin = os.Stdin
	}
	return incus.Enter(ctx, cfg, v.Record.Container, in)
}

// words is the command. Files of the target, which is not trusted, are looked
// at by nobody but its own shell.
func (v visit) words() []string {
	if len(v.Argv) > 0 {
		return v.Argv
	}
	return []string{"/bin/sh", "-c", "if [ -x /bin/bash ]; then exec /bin/bash -l; fi; exec /bin/sh -l"}
}

// VisitInit is process 1 of a visit.
func VisitInit(request string) (exitCode int, err error) {
	return namespace.Init(RoleVisitRun, request)
}

// VisitRun mounts a chroot that was kept in the namespaces of this process, and
// runs the command in it.
func VisitRun(ctx context.Context, request string) error {
	if err := namespace.Inside(); err != nil {
		return err
	}
	var v visit
	if err := json.Unmarshal([]byte(request), &v); err != nil {
		return err
	}
	c, err := resumeChroot(ctx, kept.In(v.State), v.Record)
	if err != nil {
		return err
	}
	cmd := backends.Command{Argv: v.words(), Env: v.Env}
	if !v.Interactive {
		// By pipes: what runs in there must not get hold of somebody's terminal.
		cmd.Stdout, cmd.Stderr = struct{ io.Writer }{os.Stdout}, struct{ io.Writer }{os.Stderr}
		if !terminal.Is(os.Stdin) {
			cmd.Stdin = struct{ io.Reader }{os.Stdin}
		}
		return c.Run(ctx, cmd)
	}
	master, err := c.OpenTerminal()
	if err != nil {
		return err
	}
	return terminal.Run(ctx, master, os.Stdin, os.Stdout, func(ctx context.Context, inner *os.File) error {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = inner, inner, inner
		return c.Run(ctx, cmd)
	})
}

// resumeChroot is the chroot in the folder of something that is kept.
func resumeChroot(ctx context.Context, builds kept.Builds, r kept.Record) (*chroot.Chroot, error) {
	c, err := chroot.New(chroot.Config{
		BuildDir: chroot.KeptBuildDir(kept.Target(builds.Path(r.ID))), Series: r.Series, Arch: r.Arch, RootsDir: builds.State().Roots(),
	})
	if err != nil {
		return nil, err
	}
	return c, c.Resume(ctx, r.Base)
}
