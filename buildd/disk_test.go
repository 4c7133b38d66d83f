package buildd_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/disk"
)

// TestABuildEndsThoughItsEndCannotBeWritten: on a disk that turned read-only it
// would be tried for ever. A folder in the place of the journal stands for that.
func TestABuildEndsThoughItsEndCannotBeWritten(t *testing.T) {
	for name, script := range map[string]string{"a good build": "succeed when told", "a supervisor that died": "die when told"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Close()
			r.config.RetryDelay, r.config.WriteLimit = 5*time.Millisecond, 50*time.Millisecond
			r.start()
			r.build(script)
			journal := r.inState("journal.json")
			if err := errors.Join(os.Remove(journal), os.MkdirAll(r.inState("journal.json", "folder"), 0o700)); err != nil {
				t.Fatal(err)
			}
			r.write(r.inState("build", "go"), "")
			if s := r.awaitEnd(); s.Outcome != "BUILDERFAIL" || s.BuildID != "B-1" || len(s.FileMap) > 0 {
				t.Errorf("it ended as %+v", s)
			}
			if err := r.Clean(t.Context()); err == nil || !strings.Contains(err.Error(), "cannot write the journal") {
				t.Errorf("clean(): %v", err)
			}
			if err := os.RemoveAll(journal); err != nil {
				t.Fatal(err)
			}
			r.await("journal", func(buildd.Status) bool { _, err := os.Stat(journal); return err == nil })
			r.restart()
			if s := r.Status(); s.Outcome != "BUILDERFAIL" {
				t.Errorf("after a restart: %+v", s)
			}
			r.works()
		})
	}
}

// TestABuilderThatCannotWriteTakesNoBuilds, says why, and goes on by itself.
func TestABuilderThatCannotWriteTakesNoBuilds(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.RetryDelay = 5 * time.Millisecond
	r.start()
	dir, away := r.inState("build"), r.inState("away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	request := buildd.Request{BuildID: "B-1", Tag: "binarypackage", Image: r.image, Args: map[string]any{"script": "succeed"}}
	var fault *buildd.Fault
	const calls = 50
	before := runtime.NumGoroutine()
	for range calls {
		if err := r.Build(t.Context(), request); !errors.As(err, &fault) {
			t.Errorf("build(): %v", err)
		}
	}
	if n := runtime.NumGoroutine() - before; n > calls/2 {
		t.Errorf("%d goroutines look at the disk", n)
	}
	if s := r.Status(); s.State != buildd.Idle || !strings.HasPrefix(s.Drained, buildd.BrokenText+": ") || !strings.Contains(s.Drained, dir) {
		t.Errorf("it says %+v", s)
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	r.await("builder that goes on", func(s buildd.Status) bool { return s.Drained == "" })
	r.works()
}

// TestAnIdleBuilderNoticesThatItCannotWrite, without a build that it has to refuse.
func TestAnIdleBuilderNoticesThatItCannotWrite(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.RetryDelay = 5 * time.Millisecond
	r.start()
	dir, away := r.inState("build"), r.inState("away")
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.WatchDisk(ctx)
	}()
	r.await("builder that knows", func(s buildd.Status) bool { return strings.HasPrefix(s.Drained, buildd.BrokenText+": ") })
	stop(nil)
	<-done
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	r.await("builder that goes on", func(s buildd.Status) bool { return s.Drained == "" })
	r.works()
}

func TestOnlyAFullDiskIsNoBrokenOne(t *testing.T) {
	dir := t.TempDir()
	for name, try := range map[string]func(string) error{"write": disk.TryToWrite, "store": disk.TryToStore} {
		if err := try(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
			t.Errorf("%s: it leaves %v, %v", name, entries, err)
		}
		// Nothing can be made there, by nobody.
		if err := try("/proc/self"); err == nil {
			t.Errorf("%s: it can be written", name)
		}
		if err := try(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a missing folder: %v", name, err)
		}
	}
}
