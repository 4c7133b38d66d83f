// Package supervisor runs one build, from its request to its outcome file, in
// processes of its own, so that the daemon may crash, restart or be upgraded
// meanwhile.
//
// Three processes of this program make a supervisor: Enter, outside, makes
// namespaces; Init is process 1 inside and reaps orphans; Run does the work.
// When any of them is killed, the kernel kills everything that the build has
// started and drops its mounts. What outlives that (files) stands in a ledger
// from before it is made; Cleanup undoes the ledger.
//
// Run reads from top to bottom: the stages of a build are one table (stages),
// teardown undoes what was done in reverse order, and outcomeOf is the one
// place where an error becomes a build status.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/job"
)

// requestWait is how long a supervisor without a request lives.
const requestWait = time.Minute

// Run waits for a request on the socket, works on it, and leaves an outcome
// file in its working directory. It returns when nothing of the build is left
// to do.
func Run(ctx context.Context, log *slog.Logger) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	unix.Umask(0o022)
	// The daemon is protected from the out-of-memory killer; builds are not.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0o600); err != nil {
		log.Warn("Cannot reset the out-of-memory score", "error", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := newServer(os.Stdin, func() { cancel(errAborted) })
	if err != nil {
		return err
	}
	defer s.close()
	request, err := s.request(ctx, requestWait)
	if err != nil {
		return err
	}
	if err := checkOwner(request.Settings); err != nil {
		return err
	}
	outcome := newBuild(dir, request, s.update, log).run(ctx)
	if err := job.WriteOutcome(dir, outcome); err != nil {
		return fmt.Errorf("cannot write the outcome: %w", err)
	}
	s.update(func(e *job.Event) { e.Done = true })
	return chroot.EmptyTrash(context.WithoutCancel(ctx), trashDir(dir))
}

// The folders beside that of the build, in the state folder of the file cache.
func rootsDir(dir string) string { return filepath.Join(filepath.Dir(dir), "roots") }
func trashDir(dir string) string { return filepath.Join(filepath.Dir(dir), "trash") }

// checkOwner refuses to work, as root, in folders that do not belong to the
// unprivileged user who asked for it through sudo.
func checkOwner(s job.Settings) error {
	uid := os.Getenv("SUDO_UID")
	if uid == "" {
		return nil
	}
	if s.User == "root" {
		return errors.New("builder.user: expected an unprivileged user, got root")
	}
	for _, path := range []string{s.Home, s.FileCache} {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return fmt.Errorf("cannot look at %s: %w", path, err)
		}
		if fmt.Sprint(st.Uid) != uid {
			return fmt.Errorf("%s belongs to uid %d, not to uid %s who asks for a build in it", path, st.Uid, uid)
		}
	}
	return nil
}
