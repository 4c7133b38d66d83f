package incus

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// killTime is how long killing a command may take, and settleTime how long
	// until the engine notices.
	killTime   = 15 * time.Second
	settleTime = 2 * time.Second
	// stateChecks is how often to look whether the container has stopped.
	stateChecks = 8
	// drainTime is how long output may take to arrive after the end of a
	// command.
	drainTime = 10 * time.Second
	// snapAttempts is how often the installation of a snap is tried (spec:
	// backends.md section 9), and firstRetry the pause before the second time,
	// which doubles: whatever failed needs time to become different.
	snapAttempts = 3
	firstRetry   = 5 * time.Second
	// notFound is the exit code of shells for a missing program.
	notFound = 127
	sigKill  = 128 + 9
)

// commands are run in the container.
type commands struct {
	*guest
	personality []string
	// personalityErr is reported by check, since only commands need to know.
	personalityErr error
	// retryDelay is the pause before the second attempt of what is tried again.
	retryDelay time.Duration
}

// check says why a command cannot be run.
func (c commands) check(ctx context.Context, cmd backends.Command) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(cmd.Argv) == 0 {
		return errors.New("cannot run an empty command")
	}
	if c.personalityErr != nil {
		return c.personalityErr
	}
	if !c.has(KindContainer) {
		return fmt.Errorf("cannot run %s: the container was not started", cmd.Argv[0])
	}
	return nil
}

// run runs a command. The installation of a snap is tried again.
func (c commands) run(ctx context.Context, cmd backends.Command) error {
	words := slices.Concat(c.personality, cmd.Argv)
	if cmd.Dir != "" || !slices.Contains(words, "snap") || !slices.Contains(words, "install") {
		return c.attempt(ctx, cmd)
	}
	return c.installSnap(ctx, cmd, words)
}

// installSnap tries until it succeeds. Input can be read only once.
func (c commands) installSnap(ctx context.Context, cmd backends.Command, words []string) error {
	out := cmp.Or(cmd.Stderr, cmd.Stdout, io.Discard)
	delay := c.retryDelay
	for n := 1; ; n++ {
		_, err := fmt.Fprintf(out, "Running '%s'. Attempt %d\n", backends.PythonList(words), n)
		if err != nil {
			return fmt.Errorf("cannot pass on the output of %s: %w", cmd.Argv[0], err)
		}
		err = c.attempt(ctx, cmd)
		var exit *backends.ExitError
		if !errors.As(err, &exit) || n == snapAttempts || cmd.Stdin != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
		delay *= 2
	}
}

// The shell around each command tells us by a marker ($0) when it has ended, on
// both streams. It is the leader of a session, whose processes can be killed
// together. One variant has both streams in one, for the order of the output.
const (
	splitScript = `exec 3>&2 2>/dev/null
"$@" 2>&3 3>&-
s=$?
printf '%s %s\n' "$0" $s
printf '%s %s\n' "$0" $s >&3
`
	mergedScript = `exec 2>/dev/null
"$@" 2>&1
s=$?
printf '%s %s\n' "$0" $s
`
)

// attempt runs a command once.
func (c commands) attempt(ctx context.Context, cmd backends.Command) error {
	// The end of ctx does not end it by itself: it has to be killed first.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	nonce := rand.Text()
	shell, out := splitScript, newStream(cmd.Stdout, nonce)
	errs := newStream(cmd.Stderr, nonce)
	streams := []*stream{out, errs}
	if same(cmd.Stdout, cmd.Stderr) {
		shell, errs, streams = mergedScript, newStream(nil, nonce), streams[:1]
	}
	argv := slices.Concat([]string{"setsid", "/bin/sh", "-c", shell, nonce}, inside(cmd, c.personality))
	run, err := c.exec(ctx, life, argv, cmd.Env, &client.InstanceExecArgs{Stdin: cmd.Stdin, Stdout: out, Stderr: errs})
	if err != nil {
		return c.endOf(ctx, cmd.Argv, run, err)
	}
	for _, s := range streams {
		select {
		case <-s.ended:
		case <-run.ended:
		case <-ctx.Done():
		}
	}
	if ctx.Err() != nil {
		c.kill(context.WithoutCancel(ctx), nonce, run)
		return context.Cause(ctx)
	}
	return c.exitError(ctx, cmd.Argv, nonce, run, streams)
}

// exitError is the result of a command whose streams, or which itself, have
// ended.
func (c commands) exitError(ctx context.Context, argv []string, nonce string, run *execution, streams []*stream) error {
	code, marked := 0, true
	for _, s := range streams {
		one, ok, err := s.result()
		if err != nil {
			c.kill(context.WithoutCancel(ctx), nonce, run)
			return fmt.Errorf("cannot pass on the output of %s: %w", argv[0], err)
		}
		code, marked = one, marked && ok
	}
	if !marked {
		// It ended without our shell: somebody killed it, or it never ran.
		for _, s := range streams {
			if err := s.finish(); err != nil {
				return fmt.Errorf("cannot pass on the output of %s: %w", argv[0], err)
			}
		}
		if err := c.endOf(ctx, argv, run, run.err); err != nil {
			return err
		}
		// Success is what only our shell can tell.
		code = cmp.Or(run.code, sigKill)
	}
	if code == 0 {
		return nil
	}
	return &backends.ExitError{Argv: argv, Code: code}
}

// endOf explains the end of a command that our shell did not report: err is
// what the engine said, if it said something. Killed by us is an exit code,
// stopped by others the host's fault.
func (c commands) endOf(ctx context.Context, argv []string, run *execution, err error) error {
	var fault *verdict.HostFault
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &fault):
		return err
	case err != nil && strings.Contains(err.Error(), "Command not found"):
		return &backends.ExitError{Argv: argv, Code: notFound}
	}
	stopped, stateErr := c.wasStopped(ctx)
	switch {
	case c.killCount() != run.kills:
		return &backends.ExitError{Argv: argv, Code: sigKill}
	case stateErr != nil:
		return stateErr
	case stopped:
		return &verdict.HostFault{
			Err:    fmt.Errorf("the container %s was stopped or deleted during the build, and not by the builder", c.name),
			Advice: "Find out who or what stopped the container: an operator, the engine, or the machine running out of memory.",
		}
	}
	return err
}

// wasStopped tells whether the container stops or has stopped. The engine sees
// that a moment later than the end of a command.
func (c commands) wasStopped(ctx context.Context) (bool, error) {
	for range stateChecks {
		state, err := containerState(ctx, c.server, c.name)
		var fault *verdict.HostFault
		if errors.As(err, &fault) {
			return false, err
		}
		// While it stops, the engine may have no answer.
		if err == nil && state != api.Running {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(busyPause):
		}
	}
	return false, nil
}

// inside is the argument vector of a command (spec: backends.md section 9).
func inside(cmd backends.Command, personality []string) []string {
	argv := slices.Concat(personality, cmd.Argv)
	if len(personality) == 0 {
		// A program, and not what the shell knows by the same name.
		argv = slices.Concat([]string{"env"}, argv)
	}
	if cmd.Dir != "" {
		argv = []string{"/bin/sh", "-c", "cd " + backends.Quote(cmd.Dir) + " && " + backends.Quote(argv...)}
	}
	return argv
}

// same tells whether both are the same writer.
func same(a, b io.Writer) bool {
	return a != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}

// execution is a process that the engine starts in the container.
type execution struct {
	// kills is how often KillProcesses was called before.
	kills int
	// ended is closed at its end, when its output has arrived; then there is an
	// exit code or an error.
	ended chan struct{}
	code  int
	err   error
}

// exec starts a process. Nobody waits for it any more when life ends. If it
// does not start, its execution never ends.
func (c commands) exec(ctx, life context.Context, argv, env []string, args *client.InstanceExecArgs) (*execution, error) {
	const what = "run a command in the container"
	args.DataDone = make(chan bool)
	post := api.InstanceExecPost{Command: argv, WaitForWS: true, Environment: environment(env), Cwd: "/"}
	run := &execution{kills: c.killCount(), ended: make(chan struct{})}
	op, err := ask(ctx, c.server, what, func(e engine) (client.Operation, error) {
		return e.ExecInstance(c.name, post, args)
	})
	if err != nil {
		return run, err
	}
	go func() {
		defer close(run.ended)
		var done *api.Operation
		if done, run.err = c.server.wait(life, what, op.Get().ID, noDeadline); run.err != nil {
			return
		}
		select {
		case <-args.DataDone:
		case <-life.Done():
		case <-time.After(drainTime):
		}
		code, _ := done.Metadata["return"].(float64)
		run.code = int(code)
	}()
	return run, nil
}

// environment is what the engine wants; of the same name the last one counts.
func environment(env []string) map[string]string {
	return maps.Collect(func(yield func(string, string) bool) {
		for _, e := range env {
			if name, value, _ := strings.Cut(e, "="); !yield(name, value) {
				return
			}
		}
	})
}

// killScript kills the sessions of the shells in whose arguments the marker is
// that it reads. Its own arguments do not have it.
const killScript = `for f in $(grep -lF -f - /proc/[0-9]*/cmdline 2>/dev/null); do
    p=${f#/proc/}; p=${p%/cmdline}
    kill -9 "-$p" "$p" 2>/dev/null
done
:`

// kill kills a command and what it started, if that is in its session, and
// waits for its end. What it does not manage, KillProcesses does.
func (c commands) kill(ctx context.Context, nonce string, run *execution) {
	ctx, cancel := context.WithTimeout(ctx, killTime)
	defer cancel()
	killer, err := c.exec(ctx, ctx, []string{"/bin/sh", "-c", killScript}, nil, &client.InstanceExecArgs{Stdin: strings.NewReader(nonce + "\n")})
	if err == nil {
		<-killer.ended
		err = killer.err
	}
	if err != nil {
		c.cfg.Log.Warn("Cannot kill a command", "error", err)
		return
	}
	// Others may hold its output open; they do not matter.
	select {
	case <-run.ended:
	case <-time.After(settleTime):
	}
}
