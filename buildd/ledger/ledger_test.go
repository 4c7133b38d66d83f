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
	"syscall"
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

func TestWhatIsNoLedgerIsSetAside(t *testing.T) {
	folder := t.TempDir()
	victim, path := filepath.Join(folder, "victim"), filepath.Join(folder, "ledger")
	for name, make := range map[string]func() error{
		"a folder":           func() error { return os.MkdirAll(filepath.Join(path, "full"), 0o700) },
		"a link":             func() error { return os.Symlink(victim, path) },
		"a pipe":             func() error { return syscall.Mkfifo(path, 0o600) },
		"a file without end": func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40)) },
	} {
		t.Run(name, func(t *testing.T) {
			must(t, make())
			l := open(t, path)
			if l.Damage() == nil {
				t.Error("there is no word of it")
			}
			must(t, l.Add(file("/new")))
			must(t, l.Close())
			expectOpen(t, path, file("/new"))
			for _, p := range []string{path, path + ".damaged"} {
				if _, err := os.Lstat(p); err != nil {
					t.Error(err)
				}
			}
			must(t, os.RemoveAll(path))
		})
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("the link was followed")
	}
	if _, err := ledger.Open(filepath.Join(folder, "none", "ledger")); err == nil {
		t.Error("a ledger in no folder is opened")
	}
}

// recorder undoes by noting what it is asked for.
type recorder struct {
	undone   []string
	fails    map[string]error
	reported []error
}

func (r *recorder) report(err error) { r.reported = append(r.reported, err) }

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
			if got, err := ledger.Read(path); !slices.Equal(got, want) || (err != nil) != (rubbish != "") {
				t.Fatalf("torn after %d bytes: %v, %v", n, got, err)
			}

			l := open(t, path)
			if (l.Damage() != nil) != (rubbish != "") {
				t.Errorf("torn after %d bytes, then %q: %v", n, rubbish, l.Damage())
			}
			expectOpen(t, path, want...)
			must(t, l.Add(file("/new")))
			must(t, l.Close())
			expectOpen(t, path, slices.Concat([]ledger.Entry{file("/new")}, want)...)

			var r recorder
			must(t, ledger.Clean(path, r.undo(ledger.File, ledger.Directory), r.report))
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

// garbage is what may be between or after the lines of a ledger.
func garbage() map[string]string {
	return map[string]string{
		"a word":                   "rubbish\n",
		"a blank line":             "\n",
		"zeros":                    strings.Repeat("\x00", 512) + "\n",
		"a block of zeros":         strings.Repeat("\x00", 4096) + "\n",
		"half a line":              `{"kind":"file","na` + "\n",
		"the other half":           `me":"/x"}` + "\n",
		"half a line and a whole":  `{"kind":"file","na{"kind":"file","name":"/y"}` + "\n",
		"two lines without an end": `{"kind":"file","name":"/x"}{"kind":"file","name":"/y"}` + "\n",
		"null":                     "null\n",
		"a number":                 "7\n",
		"a string":                 `"file"` + "\n",
		"a list":                   `["file","/x"]` + "\n",
		"an empty object":          "{}\n",
		"no kind":                  `{"name":"/x"}` + "\n",
		"no name":                  `{"kind":"file"}` + "\n",
		"a strike of nothing":      `{"done":true}` + "\n",
		"a kind of the wrong type": `{"kind":7,"name":"/x"}` + "\n",
		"a name of the wrong type": `{"kind":"file","name":["/x"]}` + "\n",
		"a strike of a wrong type": `{"kind":"file","name":"/x","done":"yes"}` + "\n",
		"an unknown kind":          `{"kind":"moon","name":"/x"}` + "\n",
		"a name that is refused":   `{"kind":"directory","name":"/etc"}` + "\n",
		"not UTF-8":                "\xff\xfe\xfd\n",
		"a binary":                 "\x7fELF\x02\x01\x01\x00\x00\n",
		"a huge line":              strings.Repeat("a", 4<<20) + "\n",
		"a huge name":              `{"kind":"moon","name":"` + strings.Repeat("a", 1<<20) + `"}` + "\n",
		"a deep one":               strings.Repeat(`{"kind":`, 20000) + "\n",
		"two values":               `{"kind":"file","name":"/x"} 7` + "\n",
		"carriage returns":         "\r\n\r\n",
		"a single quote":           `{'kind':'file','name':'/x'}` + "\n",
		"many of them":             strings.Repeat("rubbish\n", 1000),
	}
}

// TestGarbageKeepsNobody: whatever a ledger has between its lines, before or after
// them, the rest is undone, nothing else is, and it is set aside once.
func TestGarbageKeepsNobody(t *testing.T) {
	a, b := `{"kind":"file","name":"/a"}`+"\n", `{"kind":"file","name":"/b"}`+"\n"
	for name, bad := range garbage() {
		for where, text := range map[string]string{"before": bad + a + b, "between": a + bad + b, "after": a + b + bad} {
			t.Run(name+" "+where, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "ledger")
				must(t, os.WriteFile(path, []byte(text), 0o600))
				r := recorder{fails: map[string]error{"/etc": ledger.ErrRefused}}
				must(t, ledger.Clean(path, r.undo(ledger.File, ledger.Directory), r.report))
				undone := slices.DeleteFunc(r.undone, func(s string) bool { return s == "directory /etc" })
				if !slices.Equal(undone, []string{"file /b", "file /a"}) || len(r.reported) == 0 {
					t.Errorf("undone %v, reported %v", undone, r.reported)
				}
				if kept, err := os.ReadFile(path + ".damaged"); err != nil || !strings.HasPrefix(string(kept), text) {
					t.Errorf("set aside: %.100q, %v", kept, err)
				}
				var again recorder
				must(t, ledger.Clean(path, again.undo(ledger.File, ledger.Directory), again.report))
				if len(again.undone)+len(again.reported) > 0 {
					t.Errorf("the second time: undone %v, reported %v", again.undone, again.reported)
				}
				if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
					t.Errorf("there are %v, %v", entries, err)
				}
			})
		}
	}
}

func TestWhatIsDamagedIsToldWithTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	must(t, os.WriteFile(path, []byte("{\"kind\":\"file\",\"name\":\"/a\"}\nrubbish\n{\"kind\":\"file\",\"name\":\"/b\"}\n"), 0o600))
	got, err := ledger.Read(path)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !slices.Equal(got, []ledger.Entry{file("/b"), file("/a")}) {
		t.Errorf("Read = %v, %v", got, err)
	}
}

func TestCleanUndoesNewestFirstAndGoesOnAfterErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := open(t, path)
	busy := errors.New("busy")
	for _, e := range []ledger.Entry{dir("/a"), file("/b"), dir("/busy"), file("/c")} {
		must(t, l.Add(e))
	}
	must(t, l.Done(file("/b")))
	must(t, l.Close())

	r := recorder{fails: map[string]error{"/busy": busy}}
	if err := ledger.Clean(path, r.undo(ledger.Directory, ledger.File), r.report); !errors.Is(err, busy) {
		t.Errorf("got %v", err)
	}
	if want := []string{"file /c", "directory /busy", "directory /a"}; !slices.Equal(r.undone, want) {
		t.Errorf("undone %v, want %v", r.undone, want)
	}
	expectOpen(t, path, dir("/busy"))

	again := recorder{}
	for range 2 {
		must(t, ledger.Clean(path, again.undo(ledger.Directory, ledger.File), again.report))
	}
	if want := []string{"directory /busy"}; !slices.Equal(again.undone, want) || len(r.reported)+len(again.reported) > 0 {
		t.Errorf("the second time: undone %v, want %v", again.undone, want)
	}
	expectOpen(t, path)
}

func TestCleanOfNoLedgerMakesNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	must(t, ledger.Clean(path, nil, nil))
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
