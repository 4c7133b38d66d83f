// Package supervisor runs one build, from its request to its outcome file, in
// processes of its own, so that the daemon may crash, restart or be upgraded
// meanwhile.
//
// Three processes of this program make a supervisor: Supervise, outside, makes
// namespaces; Init is process 1 inside and reaps orphans; Run does the work.
// When any of them is killed, the kernel kills everything that the build has
// started and drops its mounts. What outlives that (files) stands in a ledger
// from before it is made; Cleanup undoes the ledger.
//
// Run reads from top to bottom: build.go is one build, stages.go the table of
// its stages, pipeline.go what runs them, kill.go what kills them, teardown.go
// undoes in reverse order what was done, and outcomeOf is the one place where
// an error becomes a build status.
package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"sync"
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
	dir, err := workingFolder()
	if err != nil {
		return err
	}
	surviveBrokenPipes()
	makeThreads()
	unix.Umask(0o022)
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
	if err := checkSettings(request.Settings); err != nil {
		return err
	}
	b := newBuild(dir, request, machine(), s.update, log)
	b.run(ctx)
	if b.unwritten != nil {
		return fmt.Errorf("cannot write the outcome: %w", b.unwritten)
	}
	s.update(func(e *job.Event) { e.Done = true })
	return chroot.EmptyTrash(context.WithoutCancel(ctx), trashDir(dir))
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

// surviveBrokenPipes makes a write to standard error fail, instead of killing
// this process, when whoever reads the daemon's log is gone. Unlike an ignored
// signal this is not inherited by the build.
func surviveBrokenPipes() { signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) }
