// Package build is what root does inside the namespaces of one build: the worker of a
// supervisor, from the request to the outcome file. Everything that the build has
// started dies with its namespaces, so that the daemon may crash, restart or be
// upgraded meanwhile; files, and what else would outlive them, stand in a ledger from
// before they are made. It touches the build directory, the target, the file cache
// and the folder of the build.
//
// Run reads from top to bottom: pipeline.go runs a build, which build.go opens,
// stages.go is the table of its stages, kill.go what kills them, teardown.go undoes
// in reverse order what was done, and outcome.go is the one place where an error
// becomes a build status.
package build

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends/chroot"
	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/namespace"
)

// requestWait is how long a supervisor without a request lives.
const requestWait = time.Minute

// Run waits for a request on the socket, works on it, and leaves an outcome
// file in its working directory. It returns when nothing of the build is left
// to do.
func Run(ctx context.Context, log *slog.Logger) error {
	dir, err := caller.WorkingFolder()
	if err != nil {
		return err
	}
	namespace.SurviveBrokenPipes()
	makeThreads()
	unix.Umask(0o022)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := newServer(os.Stdin, func() { cancel(errAborted) })
	if err != nil {
		return err
	}
	defer s.close()
	request, err := s.request(ctx)
	if err != nil {
		return err
	}
	if err := caller.CheckSettings(request.Settings); err != nil {
		return err
	}
	b := newBuild(dir, request, thisMachine(), s.update, log)
	b.run(ctx)
	if b.books.unwritten != nil {
		return fmt.Errorf("cannot write the outcome: %w", b.books.unwritten)
	}
	s.update(func(e *job.Event) { e.Done = true })
	return chroot.EmptyTrash(context.WithoutCancel(ctx), dir.State().Trash())
}

// spareThreads are more than this process uses at once.
const spareThreads = 32

// makeThreads makes threads, which the runtime keeps. When a package has started as
// many processes as may be, this process gets no more, and would die for want of
// one.
func makeThreads() {
	release := make(chan struct{})
	var made, over sync.WaitGroup
	made.Add(spareThreads)
	for range spareThreads {
		over.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			made.Done()
			<-release
		})
	}
	made.Wait()
	close(release)
	over.Wait()
}
