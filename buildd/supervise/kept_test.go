package supervise

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// keptBuild is a state folder in which one failed build is kept.
type keptBuild struct {
	*testing.T
	state.Folder
	builds  kept.Builds
	record kept.Record
}

func keepOne(t *testing.T, expires time.Time) *keptBuild {
	t.Helper()
	folder := state.Folder(t.TempDir())
	k := &keptBuild{T: t, Folder: folder, builds: kept.In(folder)}
	id, path := k.builds.NewPath()
	k.record = kept.Record{ID: id, BuildID: "B-1", Backend: "chroot", Failed: time.Now(), Expires: expires}
	err := errors.Join(os.Mkdir(folder.Build().Path(), 0o700), k.builds.Begin(path), k.builds.Commit(path, k.record))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// left is what is kept now.
func (k *keptBuild) left() []kept.Record {
	k.Helper()
	all, err := k.builds.List()
	if err != nil {
		k.Fatal(err)
	}
	return all
}

func (k *keptBuild) log() string {
	data, _ := os.ReadFile(filepath.Join(k.builds.Dir(), "kept.log")) // missing if nothing ever was
	return string(data)
}

// visit puts a process into what is kept.
func (k *keptBuild) visit() state.Process {
	k.Helper()
	lock, err := os.Open(filepath.Join(k.builds.Path(k.record.ID), "lock"))
	if err == nil {
		err = disk.LockOpen(lock)
	}
	if err != nil {
		k.Fatal(err)
	}
	// Whoever inherits the lock holds it.
	cmd := exec.CommandContext(k.Context(), "sleep", "3600")
	cmd.ExtraFiles = []*os.File{lock}
	if err := errors.Join(cmd.Start(), lock.Close()); err != nil {
		k.Fatal(err)
	}
	k.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	p, err := state.Identify(cmd.Process.Pid)
	if err == nil {
		err = disk.WriteJSON(filepath.Join(k.builds.Path(k.record.ID), "visitor.json"), kept.Visitor{By: "visitor", Since: time.Now(), Process: p})
	}
	if err != nil {
		k.Fatal(err)
	}
	return p
}

func TestWhoIsInsideIsNotThrownOutOnRequest(t *testing.T) {
	k := keepOne(t, time.Now().Add(time.Hour))
	visitor := k.visit()
	err := DropKept(t.Context(), k.Folder, "B-1", "me", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "visitor since") || len(k.left()) != 1 {
		t.Errorf("got %v", err)
	}
	if !alive(visitor) {
		t.Error("the visitor is dead")
	}
}

func TestExpiryThrowsOutWhoIsInside(t *testing.T) {
	k := keepOne(t, time.Now())
	visitor := k.visit()
	quiet := slog.New(slog.DiscardHandler)
	err := Visit(t.Context(), k.Folder, "B-1", "me", nil, quiet)
	if !errors.Is(err, errExpired) {
		t.Errorf("a visit: %v", err)
	}
	if err := ExpireKept(t.Context(), k.Folder, quiet); err != nil {
		t.Fatal(err)
	}
	if len(k.left()) != 0 || alive(visitor) {
		t.Errorf("kept is %v, the visitor lives: %v", k.left(), alive(visitor))
	}
	for _, text := range []string{`Visit to a kept build ended by force`, "by=visitor", "it has expired"} {
		if !strings.Contains(k.log(), text) {
			t.Errorf("no %q in the log %s", text, k.log())
		}
	}
}

func TestTooLittleSpaceEndsIt(t *testing.T) {
	for _, c := range []struct {
		name string
		need int64
		left int
	}{{"enough", 0, 1}, {"too little", 1 << 60, 0}} {
		t.Run(c.name, func(t *testing.T) {
			k := keepOne(t, time.Now().Add(time.Hour))
			t.Chdir(k.Build().Path())
			var log strings.Builder
			if err := EmptyTrash(t.Context(), c.need, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
				t.Fatal(err)
			}
			if len(k.left()) != c.left || (c.left == 0) != strings.Contains(log.String(), "the disk is short") {
				t.Errorf("kept is %v, the log %s", k.left(), log.String())
			}
			if left, err := os.ReadDir(k.Trash()); err != nil && !errors.Is(err, os.ErrNotExist) || len(left) > 0 {
				t.Errorf("in the trash: %v, %v", left, err)
			}
		})
	}
}

func TestWhatIsDamagedIsRemoved(t *testing.T) {
	k := keepOne(t, time.Now().Add(time.Hour))
	if err := os.WriteFile(filepath.Join(k.builds.Path(k.record.ID), "record.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ExpireKept(t.Context(), k.Folder, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if len(k.left()) != 0 {
		t.Errorf("kept is %v", k.left())
	}
}

func TestVisitsToNothing(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	err := Visit(t.Context(), state.Folder(t.TempDir()), "B-1", "me", nil, quiet)
	if err == nil || !strings.Contains(err.Error(), "[keep] failed") {
		t.Errorf("got %v", err)
	}
	k := keepOne(t, time.Now().Add(time.Hour))
	err = Visit(t.Context(), k.Folder, "other", "me", nil, quiet)
	if err == nil || !strings.Contains(err.Error(), "kept are: B-1") {
		t.Errorf("got %v", err)
	}
	// Neither in a namespace of a visit, nor its first process.
	if _, err := VisitInit("{}"); err == nil {
		t.Error("this test is process 1")
	}
	if err := VisitRun(t.Context(), "{}"); err == nil {
		t.Error("this test is in a namespace of its own")
	}
}
