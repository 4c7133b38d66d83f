package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lpbuildd/buildd/ledger"
)

func dir(name string) ledger.Entry  { return ledger.Entry{Kind: ledger.Directory, Name: name} }
func file(name string) ledger.Entry { return ledger.Entry{Kind: ledger.File, Name: name} }

func open(t *testing.T, path string) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectOpen(t *testing.T, path string, want ...ledger.Entry) {
	t.Helper()
	if got, err := ledger.Read(path); err != nil || !slices.Equal(got, want) {
		t.Errorf("open entries %v, %v, want %v", got, err, want)
	}
}

func TestEntriesAreOpenUntilDone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	expectOpen(t, path)
	l := open(t, path)
	expectOpen(t, path)
	must(t, l.Add(dir("/a")))
	must(t, l.Add(file("/a")))
	must(t, l.Add(dir("/a")))
	must(t, l.Add(dir("/b \"quoted\"\nü")))
	expectOpen(t, path, dir("/b \"quoted\"\nü"), file("/a"), dir("/a"))
	must(t, l.Done(file("/a")))
	must(t, l.Done(file("/a")))
	must(t, l.Done(file("/never")))
	expectOpen(t, path, dir("/b \"quoted\"\nü"), dir("/a"))

	again := open(t, path)
	must(t, again.Add(dir("/a")))
	must(t, again.Add(file("/a")))
	expectOpen(t, path, file("/a"), dir("/b \"quoted\"\nü"), dir("/a"))

	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestAddingTwiceWritesOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	must(t, l.Add(dir("/a")))
	must(t, l.Add(dir("/a")))
	data, err := os.ReadFile(path)
	if want := `{"kind":"directory","name":"/a"}` + "\n"; err != nil || string(data) != want {
		t.Errorf("the file holds %q, %v, want %q", data, err, want)
	}
}

func TestEntriesThatCannotBeRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	for _, e := range []ledger.Entry{{}, {Kind: ledger.File}, {Name: "/a"}, file("/\xff")} {
		if err := l.Add(e); err == nil {
			t.Errorf("%+v is accepted", e)
		}
	}
	must(t, l.Close())
	must(t, l.Close())
	if err := l.Add(file("/a")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	expectOpen(t, path)
}

func TestOpenRefusesWhatIsNoLedger(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "link")
	must(t, os.Symlink(filepath.Join(folder, "victim"), link))
	for _, path := range []string{folder, link, filepath.Join(folder, "none", "ledger")} {
		if _, err := ledger.Open(path); err == nil {
			t.Errorf("%s is opened", path)
		}
	}
}

// recorder undoes by noting what it is asked for.
type recorder struct {
	undone []string
	fails  map[string]error
}

func (r *recorder) undo(kinds ...ledger.Kind) map[ledger.Kind]func(string) error {
	table := map[ledger.Kind]func(string) error{}
	for _, kind := range kinds {
		table[kind] = func(name string) error {
			r.undone = append(r.undone, string(kind)+" "+name)
			return r.fails[name]
		}
	}
	return table
}

// written is a ledger with additions and strikes, and the entries open after
// each of its lines, newest first.
func written(t *testing.T) (data []byte, after [][]ledger.Entry) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	steps := []func() error{
		func() error { return l.Add(dir("/a")) },
		func() error { return l.Add(file("/ü")) },
		func() error { return l.Done(dir("/a")) },
		func() error { return l.Add(dir("/c")) },
		func() error { return l.Done(file("/ü")) },
	}
	after = append(after, nil)
	for _, step := range steps {
		must(t, step())
		entries, err := ledger.Read(path)
		must(t, err)
		after = append(after, entries)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	return data, after
}

func TestLedgerTornAtEveryByte(t *testing.T) {
	data, after := written(t)
	path := filepath.Join(t.TempDir(), "ledger")
	for n := range len(data) + 1 {
		for _, rubbish := range []string{"", "\x00\x00\x00"} {
			torn := string(data[:n]) + rubbish
			must(t, os.WriteFile(path, []byte(torn), 0o600))
			want := after[bytes.Count(data[:n], []byte("\n"))]
			expectOpen(t, path, want...)

			l := open(t, path)
			expectOpen(t, path, want...)
			must(t, l.Add(file("/new")))
			must(t, l.Close())
			expectOpen(t, path, slices.Concat([]ledger.Entry{file("/new")}, want)...)

			var r recorder
			must(t, ledger.Clean(path, r.undo(ledger.File, ledger.Directory)))
			if len(r.undone) != len(want)+1 || r.undone[0] != "file /new" {
				t.Fatalf("torn after %d bytes, %v is undone", n, r.undone)
			}
			expectOpen(t, path)
			if t.Failed() {
				t.Fatalf("torn after %d bytes", n)
			}
		}
	}
}

func TestDamagedLineDoesNotHideTheOthers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	must(t, os.WriteFile(path, []byte(`{"kind":"file","name":"/a"}
rubbish
{"kind":"file","name":"/b"}
`), 0o600))
	got, err := ledger.Read(path)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !slices.Equal(got, []ledger.Entry{file("/b"), file("/a")}) {
		t.Errorf("Read = %v, %v", got, err)
	}
	var r recorder
	if err := ledger.Clean(path, r.undo(ledger.File)); err == nil || len(r.undone) != 2 {
		t.Errorf("Clean = %v, %v are undone", err, r.undone)
	}
}

func TestCleanUndoesNewestFirstAndGoesOnAfterErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	busy := errors.New("busy")
	for _, e := range []ledger.Entry{dir("/a"), file("/b"), dir("/busy"), {Kind: "strange", Name: "x"}, file("/c")} {
		must(t, l.Add(e))
	}
	must(t, l.Done(file("/b")))
	must(t, l.Close())

	r := recorder{fails: map[string]error{"/busy": busy}}
	err := ledger.Clean(path, r.undo(ledger.Directory, ledger.File))
	if !errors.Is(err, busy) || !strings.Contains(err.Error(), `cannot undo strange "x": unknown kind`) {
		t.Errorf("got %v", err)
	}
	if want := []string{"file /c", "directory /busy", "directory /a"}; !slices.Equal(r.undone, want) {
		t.Errorf("undone %v, want %v", r.undone, want)
	}
	expectOpen(t, path, ledger.Entry{Kind: "strange", Name: "x"}, dir("/busy"))

	r = recorder{}
	for range 2 {
		must(t, ledger.Clean(path, r.undo(ledger.Directory, ledger.File, "strange")))
	}
	if want := []string{"strange x", "directory /busy"}; !slices.Equal(r.undone, want) {
		t.Errorf("the second time: undone %v, want %v", r.undone, want)
	}
	expectOpen(t, path)
}

func TestCleanOfNoLedgerMakesNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	must(t, ledger.Clean(path, nil))
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 5 {
				name := fmt.Sprintf("/%d/%d", i, j)
				if err := errors.Join(l.Add(dir(name)), l.Add(file(name)), l.Done(dir(name))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := ledger.Read(path)
	if err != nil || len(got) != 40 {
		t.Errorf("%d open entries, %v", len(got), err)
	}
	for _, e := range got {
		if e.Kind != ledger.File {
			t.Errorf("%v is open", e)
		}
	}
}
