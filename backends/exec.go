package backends

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"lpbuildd/buildd/verdict"
)

// SearchPath is the PATH of every command, on the host and in targets.
const SearchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// defaultGrace is how long Host waits for the output of processes that a
// finished command left behind.
const defaultGrace = 2 * time.Second

// Host runs commands on this machine: everything that builds need is started here.
// Elsewhere the daemon and its supervisors start nothing but this program again, in
// another role, and commands what they ask themselves (dpkg-query, git).
//
// A command gets its own session and process group, an explicit environment
// (PATH, HOME, USER and LOGNAME when there is a User, and what the command
// says; nothing is inherited), and /dev/null as its input unless it has one. An
// input that is a terminal becomes the one that controls the session.
// The zero value runs as the user of this process, in "/". Safe for concurrent
// use.
type Host struct {
	// Dir is the working directory of commands that name none; "" means "/".
	Dir string
	// Home is HOME; "" means "/root".
	Home string
	// User is USER and LOGNAME. When it is set, commands run with UID, GID and
	// the supplementary Groups; this process must be root or have that UID.
	User     string
	UID, GID uint32
	Groups   []uint32
	// Path is PATH, and where programs are looked up; "" means SearchPath.
	Path string
	// Grace is how long Run waits, after a command has ended, for processes it
	// left behind that still hold its output; 0 means 2 seconds.
	Grace time.Duration
	// Stray is told who was left behind and held the output of a command open.
	// With it, those that keep a command from ending are killed after StrayGrace;
	// 0 means 10 seconds.
	Stray      func(Stray)
	StrayGrace time.Duration
	// looks are when to look for them, in a test; nil is five times in StrayGrace.
	looks <-chan time.Time
}

var _ Runner = Host{}

// Run implements Runner. When ctx ends, the command's whole process group gets
// SIGKILL. Processes that left the group are not killed; they only lose their
// output. Everything that the command itself wrote has reached Stdout and
// Stderr when Run returns. A Stdin whose Read blocks may be read once more after
// that.
func (h Host) Run(ctx context.Context, cmd Command) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c, err := h.prepare(ctx, cmd)
	if err != nil {
		return err
	}
	out, err := connect(c, cmd)
	if err != nil {
		return err
	}
	in, err := feed(c, cmd.Stdin)
	if err != nil {
		out.discard()
		return err
	}
	if err := c.Start(); err != nil {
		out.discard()
		in.discard()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return verdict.MarkHostFault(fmt.Errorf("cannot start %s: %w", cmd.Argv[0], err))
	}
	expose(c.Process.Pid)
	in.start()
	out.start()
	err = h.wait(ctx, c)
	outErr := out.finish(ctx, h.grace(), c.Process.Pid, func(held string) {
		if h.Stray != nil {
			h.Stray(Stray{Argv: cmd.Argv, Held: held})
		}
	})
	return exitError(ctx, cmd.Argv, err, in.finish(h.grace()), outErr)
}

// wait waits for the end of a command.
func (h Host) wait(ctx context.Context, c *exec.Cmd) error {
	if h.Stray == nil {
		return c.Wait()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		h.watchStrays(ctx, c.Process.Pid, c.Args)
	}()
	err := c.Wait()
	cancel(nil)
	<-watched
	return err
}

func (h Host) strayGrace() time.Duration { return cmp.Or(h.StrayGrace, defaultStrayGrace) }

func (h Host) grace() time.Duration { return cmp.Or(h.Grace, defaultGrace) }

// prepare describes the process to os/exec.
func (h Host) prepare(ctx context.Context, cmd Command) (*exec.Cmd, error) {
	if len(cmd.Argv) == 0 {
		return nil, errors.New("cannot run an empty command")
	}
	path, err := h.LookPath(cmd.Argv[0])
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, path) // the words of a Command, and no shell between
	c.Args = cmd.Argv
	c.Dir = cmp.Or(cmd.Dir, h.Dir, "/")
	c.Env = h.environment(cmd.Env)
	// A terminal becomes that of the new session.
	terminal := isTerminal(cmd.Stdin)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: terminal, Credential: h.credential()}
	c.Cancel = func() error { return killGroup(c.Process.Pid) }
	return c, nil
}

// LookPath finds a program in the PATH of commands, not in that of this
// process. A missing one is a *HostFault.
func (h Host) LookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := cmp.Or(h.Path, SearchPath)
	for dir := range strings.SplitSeq(path, ":") {
		full := dir + "/" + name
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return full, nil
		}
	}
	return "", &verdict.HostFault{
		Err:    fmt.Errorf("cannot run %q: no such program in %s", name, path),
		Advice: fmt.Sprintf("Install the package that provides %q on the builder.", name),
	}
}

func (h Host) environment(extra []string) []string {
	env := []string{"PATH=" + cmp.Or(h.Path, SearchPath), "HOME=" + cmp.Or(h.Home, "/root")}
	if h.User != "" {
		env = append(env, "USER="+h.User, "LOGNAME="+h.User)
	}
	return append(env, extra...)
}

// credential is nil when the process need not change who it is; setting it
// even to the same user takes privileges.
func (h Host) credential() *syscall.Credential {
	if h.User == "" || uint64(os.Geteuid()) == uint64(h.UID) { // user ids are never negative on Linux
		return nil
	}
	return &syscall.Credential{Uid: h.UID, Gid: h.GID, Groups: h.Groups}
}

// killGroup kills the process group of a command.
func killGroup(pid int) error {
	err := syscall.Kill(-pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// exitError turns what Wait and the pipes said into the result of Run.
func exitError(ctx context.Context, argv []string, err, inErr, outErr error) error {
	if err == nil && inErr == nil && outErr == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// A process with broken pipes fails because of them: name the reason.
	if outErr != nil {
		return fmt.Errorf("cannot pass on the output of %s: %w", argv[0], outErr)
	}
	if inErr != nil {
		return fmt.Errorf("cannot pass on the input of %s: %w", argv[0], inErr)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("cannot run %s: %w", argv[0], err)
	}
	code := exit.ExitCode()
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return &ExitError{Argv: argv, Code: code}
}
