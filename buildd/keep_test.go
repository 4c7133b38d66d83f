package buildd_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
)

// keep makes something that is kept until then.
func (r *rig) keep(expires time.Time) {
	r.t.Helper()
	s := kept.In(state.Folder(filepath.Dir(r.inState("build"))))
	id, path := s.NewPath()
	if err := s.Begin(path); err != nil {
		r.t.Fatal(err)
	}
	if err := s.Commit(path, kept.Record{ID: id, Failed: time.Now(), Expires: expires}); err != nil {
		r.t.Fatal(err)
	}
}

func TestWhatIsKeptIsRemovedWhenItHasTo(t *testing.T) {
	for _, c := range []struct {
		name    string
		expires time.Duration
		need    int64
		want    string // what the helper is told, "" if it is not called
	}{
		{"it has time", time.Hour, 0, ""},
		{"it is due", -time.Second, 0, "0"},
		{"a download needs room", time.Hour, 1 << 60, "1152921504606846976"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.Close()
			r.config.Launcher.Trash = []string{"sh", "-c", "cat >asked"}
			r.start()
			r.keep(time.Now().Add(c.expires))
			r.ReclaimKept(t.Context(), c.need)
			asked, _ := os.ReadFile(r.inState("build", "asked")) // missing if nobody was
			if string(asked) != c.want {
				t.Errorf("the helper was told %q", asked)
			}
		})
	}
}

// TestAWatchBeginsAtOnce: what expired while there was no daemon goes first of
// all.
func TestAWatchBeginsAtOnce(t *testing.T) {
	r := newRig(t)
	r.Close()
	r.config.Launcher.Trash = []string{"sh", "-c", "echo once >>called; rm -r ../kept/*; echo said"}
	r.start()
	r.keep(time.Now().Add(-time.Hour))
	ctx, stop := context.WithCancelCause(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.WatchKept(ctx)
	}()
	r.await("removal of what is due", func(buildd.Status) bool {
		left, err := filepath.Glob(r.inState("kept", "*"))
		return err == nil && len(left) == 0
	})
	stop(nil)
	<-done
	called, err := os.ReadFile(r.inState("build", "called"))
	if err != nil || strings.TrimSpace(string(called)) != "once" {
		t.Errorf("the helper was called %q, %v", called, err)
	}
}
