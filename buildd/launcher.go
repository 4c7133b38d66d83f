package buildd

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Launcher starts the two privileged helpers of the daemon. Both are this same
// program; they run as root, directly or through one narrow sudo rule, and
// find what they work on in their working directory, the folder of the build.
type Launcher struct {
	// Supervise runs the build whose socket it gets as standard input.
	Supervise []string
	// Cleanup undoes what a dead build left behind (buildd/ledger).
	Cleanup []string
	// Trash deletes what builds have left for later.
	Trash []string
}

// start starts the supervisor of a build and returns at once. The supervisor
// outlives this process.
func (l Launcher) start(ctx context.Context, dir string, socket *os.File, log *slog.Logger) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), l.Supervise[0], l.Supervise[1:]...) //nolint:gosec // from the configuration of this daemon
	cmd.Dir = dir
	cmd.Stdin = socket
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start the supervisor: %w", err)
	}
	go func() {
		if err := cmd.Wait(); err != nil {
			log.Warn("Supervisor ended with an error", "error", err)
		}
	}()
	return nil
}

// cleanup kills what is left of the build in dir and undoes its ledger.
func (l Launcher) cleanup(ctx context.Context, dir string) error { return await(ctx, dir, l.Cleanup) }

// emptyTrash deletes what builds have left for later.
func (l Launcher) emptyTrash(ctx context.Context, dir string) error { return await(ctx, dir, l.Trash) }

// await runs one of the helpers to its end.
func await(ctx context.Context, dir string, argv []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // from the configuration of this daemon
	cmd.Dir = dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
