package kept_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// add keeps something.
func add(t *testing.T, s kept.Builds, r kept.Record) kept.Record {
	t.Helper()
	id, path := s.NewPath()
	r.ID = id
	check(t, s.Begin(path))
	check(t, os.WriteFile(filepath.Join(kept.Target(path), "file"), nil, 0o600))
	check(t, s.Commit(path, r))
	return r
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func at(hour int) time.Time { return time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC) }

func TestListIsInTheOrderOfTime(t *testing.T) {
	s := kept.In(state.Folder(t.TempDir()))
	if all, err := s.List(); err != nil || len(all) != 0 {
		t.Errorf("nothing is %v, %v", all, err)
	}
	late := add(t, s, kept.Record{BuildID: "late", Failed: at(2)})
	early := add(t, s, kept.Record{BuildID: "early", Failed: at(1), Expires: at(3)})
	_, half := s.NewPath()
	check(t, s.Begin(half))
	s.Log(t.Context(), slog.New(slog.DiscardHandler), "Something", late)
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0] != early || all[1] != late {
		t.Errorf("got %+v, %v", all, err)
	}
	if info, err := os.Stat(kept.Target(s.Path(late.ID))); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("everyone can look into the target: %v, %v", info.Mode(), err)
	}
}

func TestFind(t *testing.T) {
	s := kept.In(state.Folder(t.TempDir()))
	once := add(t, s, kept.Record{BuildID: "once", Failed: at(1)})
	first := add(t, s, kept.Record{BuildID: "twice", Failed: at(2)})
	second := add(t, s, kept.Record{BuildID: "twice", Failed: at(3)})
	for _, c := range []struct {
		name, want, text string
	}{
		{"once", once.ID, ""},
		{second.ID, second.ID, ""},
		{"twice", "", "by the id: " + first.ID + ", " + second.ID},
		{"never", "", "kept are: once, twice, twice"},
		{"../" + once.ID, "", "nothing is kept"},
	} {
		got, err := s.Find(c.name)
		if got.ID != c.want || (err == nil) != (c.text == "") || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func TestVictim(t *testing.T) {
	s := kept.In(state.Folder(t.TempDir()))
	const never = 1 << 60
	old := kept.Record{ID: "old", Failed: at(1), Expires: at(9)}
	due := kept.Record{ID: "due", Failed: at(2), Expires: at(4)}
	demanding := kept.Record{ID: "demanding", Expires: at(9), MinFree: never}
	for _, c := range []struct {
		name    string
		records []kept.Record
		need    int64
		want    string
		why     string
	}{
		{"nothing is there", nil, never, "", ""},
		{"all have time", []kept.Record{old}, 0, "", ""},
		{"one is due", []kept.Record{old, due}, 0, "due", "it has expired"},
		{"a download needs room", []kept.Record{old}, never, "old", "the disk is short"},
		{"there is less space than must be", []kept.Record{demanding, old}, 0, "demanding", "the disk is short"},
		{"a record that cannot be read", []kept.Record{{ID: "broken"}}, 0, "broken", "it has expired"},
	} {
		got, why := s.Victim(c.records, at(4), c.need)
		if got.ID != c.want || !strings.HasPrefix(why, c.why) || (why == "") != (c.why == "") {
			t.Errorf("%s: %s, %q", c.name, got.ID, why)
		}
	}
}

func TestOneVisitAtATime(t *testing.T) {
	s := kept.In(state.Folder(t.TempDir()))
	r := add(t, s, kept.Record{})
	if v, inside := s.Visitor(r.ID); inside {
		t.Errorf("inside is %s", v)
	}
	lock, err := s.Lock(r.ID)
	check(t, err)
	if _, inside := s.Visitor(r.ID); inside {
		t.Error("nobody has said who is inside")
	}
	check(t, lock.Enter(kept.Visitor{By: "me", Process: state.Process{PID: 7}}))
	if v, inside := s.Visitor(r.ID); !inside || v.By != "me" || !strings.HasSuffix(v.String(), "(process 7)") {
		t.Errorf("inside is %s", v)
	}
	if _, err := s.Lock(r.ID); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("got %v", err)
	}
	check(t, lock.Unlock())
	lock, err = s.Lock(r.ID)
	check(t, err)
	check(t, lock.Unlock())
	check(t, os.RemoveAll(s.Path(r.ID)))
	if _, err := s.Lock(r.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestTheLogIsNoWayOut: nobody but root can write there, and links lead
// nowhere.
func TestTheLogIsNoWayOut(t *testing.T) {
	dir := t.TempDir()
	s := kept.In(state.Folder(dir))
	r := add(t, s, kept.Record{BuildID: "B"})
	outside := filepath.Join(dir, "outside")
	check(t, os.Symlink(outside, filepath.Join(s.Dir(), "kept.log")))
	var out strings.Builder
	s.Log(t.Context(), slog.New(slog.NewTextHandler(&out, nil)), "Something", r)
	if _, err := os.Lstat(outside); err == nil || !strings.Contains(out.String(), "build_id=B") || !strings.Contains(out.String(), "Cannot write") {
		t.Errorf("%v: %s", err, out.String())
	}
}
