package buildd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
)

// Helpers do for a daemon what only root can. A Launcher starts the real ones.
type Helpers interface {
	// StartSupervisor starts the supervisor of the build in dir and returns at once;
	// from then on it can be connected to. When it has ended, ended is called, with an
	// error if it did not end as it should.
	StartSupervisor(ctx context.Context, dir string, ended func(error)) error
	// Connect fails when there is no supervisor that lives.
	Connect(ctx context.Context, dir string) (net.Conn, error)
	// CleanUp kills what is left of the build in dir and undoes its ledger.
	CleanUp(ctx context.Context, dir string) error
	// EmptyTrash deletes what builds have left for later, and of what is kept as much
	// as must go for need bytes of room.
	EmptyTrash(ctx context.Context, dir string, need int64) error
}

// Launcher starts the privileged helpers of the daemon. All are this same
// program; they run as root, directly or through one narrow sudo rule, and
// find what they work on in their working directory, the folder of the build.
type Launcher struct {
	// Supervise runs the build whose socket it gets as standard input.
	Supervise []string
	// Cleanup undoes what a dead build left behind (buildd/ledger).
	Cleanup []string
	// Trash deletes what builds have left for later. Its standard input is how
	// many bytes of room are wanted.
	Trash []string
	// Stock looks after what is kept for later builds.
	Stock []string
}

// StartSupervisor binds the socket of the build and starts its supervisor, which
// inherits it and from then on is the only one that holds it. It outlives this process.
func (l Launcher) StartSupervisor(ctx context.Context, dir string, ended func(error)) error {
	socket, err := listen(ctx, dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), l.Supervise[0], l.Supervise[1:]...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.Stdin = socket
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("cannot start the supervisor: %w", err), socket.Close())
	}
	go func() { ended(cmd.Wait()) }()
	return socket.Close()
}

// CleanUp is waited for to the end also when ctx ends, which is an error: what root's
// side has started goes on, and must be over before another build uses the folder.
func (l Launcher) CleanUp(ctx context.Context, dir string) error {
	return await(ctx, dir, l.Cleanup, "", 0)
}

// EmptyTrash ends with ctx.
func (l Launcher) EmptyTrash(ctx context.Context, dir string, need int64) error {
	return await(ctx, dir, l.Trash, strconv.FormatInt(need, 10), letGo)
}

// letGo is how long a helper whose time is up, and that disturbs no build, is
// waited for.
const letGo = time.Second

// await runs one of the helpers to its end. What it prints goes to the log, what
// it complains about into the error. When ctx ends, wait is how long its output is
// waited for, which whatever it has started holds; 0 is to the end.
func await(ctx context.Context, dir string, argv []string, input string, wait time.Duration) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.WaitDelay = wait
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), os.Stderr, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// AskStock has the helper look after what is kept for later builds of the builder
// with this state folder. A builder that never ran has nothing.
func (l Launcher) AskStock(ctx context.Context, folder state.Folder, r job.StockRequest) (job.StockReport, error) {
	var report job.StockReport
	dir := folder.Build().Path()
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	request, err := json.Marshal(r)
	if err != nil {
		return report, err
	}
	cmd := exec.CommandContext(ctx, l.Stock[0], l.Stock[1:]...)
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.WaitDelay = letGo
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(request), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return report, fmt.Errorf("%s: %w: %s", strings.Join(l.Stock, " "), err, strings.TrimSpace(stderr.String()))
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		return report, fmt.Errorf("cannot read the answer of %s: %w", strings.Join(l.Stock, " "), err)
	}
	return report, nil
}

// environment is that of this process, without sudo's word on who asks: if the
// helpers need sudo, it says so anew, and if this process is root because
// someone used sudo, that is not who asks. What systemd gave this process to
// report with is not for helpers either.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "SUDO_") || name == "NOTIFY_SOCKET" || strings.HasPrefix(name, "WATCHDOG_")
	})
}
