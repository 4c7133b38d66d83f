package filecache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"lpbuildd/filecache"
)

func TestOpenNeedsAFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(dir, "missing"), file} {
		if _, err := filecache.Open(bad, filecache.Options{}); err == nil {
			t.Errorf("%s is opened", bad)
		}
	}
	if err := os.Symlink(t.TempDir(), filepath.Join(dir, ".lpbuildd")); err != nil {
		t.Fatal(err)
	}
	if _, err := filecache.Open(dir, filecache.Options{}); err == nil {
		t.Error("a link is taken for the state folder")
	}
}

func TestStore(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	const abc256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	for i, isNew := range []bool{true, false} {
		s, err := c.Store(t.Context(), strings.NewReader("abc"))
		wanted := filecache.Stored{SHA1: sum([]byte("abc")), SHA256: abc256, Size: 3, New: isNew}
		if err != nil || s != wanted {
			t.Errorf("%d: got %+v, %v", i, s, err)
		}
	}
	checkClean(t, c, sum([]byte("abc")))
	data, err := os.ReadFile(filepath.Join(c.StateDir(), "meta", sum([]byte("abc"))+".json"))
	var recorded filecache.Stored
	if err := errors.Join(err, json.Unmarshal(data, &recorded)); err != nil || recorded.SHA256 != abc256 || recorded.Size != 3 {
		t.Errorf("recorded: %s, %v", data, err)
	}
	if err := c.Remove(sum([]byte("abc"))); err != nil {
		t.Error(err)
	}
	if err := c.Remove(sum([]byte("abc"))); err != nil {
		t.Errorf("removing what is missing: %v", err)
	}
	if left := list(t, filepath.Join(c.StateDir(), "meta")); len(left) > 0 {
		t.Errorf("records were left: %q", left)
	}
}

func TestStoreLeavesNothingWhenItFails(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	broken := errors.New("broken")
	if _, err := c.Store(t.Context(), iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := c.Store(ctx, strings.NewReader("x")); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	checkClean(t, c)
}

func TestStoreReplacesACorruptedEntry(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	name := sum([]byte("good"))
	put(t, c, name, []byte("bad"))
	s, err := c.Store(t.Context(), strings.NewReader("good"))
	if err != nil || s.New {
		t.Errorf("got %+v, %v", s, err)
	}
	if data, err := os.ReadFile(filepath.Join(c.Dir(), name)); err != nil || string(data) != "good" {
		t.Errorf("the entry is %q, %v", data, err)
	}
}

func TestParallelStoresOfTheSame(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := c.Store(t.Context(), bytes.NewReader(blob(100_000))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	checkClean(t, c, sum(blob(100_000)))
}

func TestPresence(t *testing.T) {
	data := blob(300_000)
	name := sum(data)
	var log bytes.Buffer
	c := open(t, t.TempDir(), filecache.Options{Log: logTo(&log)})
	present := func(name string, wanted bool) {
		t.Helper()
		if there, err := c.Present(t.Context(), name); there != wanted || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, there, err, wanted)
		}
	}
	present(name, false)
	put(t, c, name, data)
	present(name, true)

	put(t, c, name, data[1:])
	present(name, false)
	if !strings.Contains(log.String(), "corrupted") {
		t.Errorf("the log does not speak of it: %s", log.String())
	}
	checkClean(t, c)

	put(t, c, "fake-chroot", []byte("anything"))
	present("fake-chroot", true)
	long := strings.Repeat("x", 255)
	put(t, c, long, nil)
	present(long, true)
	if err := os.Mkdir(filepath.Join(c.Dir(), "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	present("folder", false)
	if err := os.Symlink("/etc/passwd", filepath.Join(c.Dir(), "link")); err != nil {
		t.Fatal(err)
	}
	present("link", false)
}

func TestACorruptedEntryIsFetchedAgain(t *testing.T) {
	data := blob(1000)
	s := open(t, t.TempDir(), filecache.Options{})
	put(t, s, sum(data), []byte("rotten"))
	origin := open(t, t.TempDir(), filecache.Options{})
	put(t, origin, sum(data), data)
	url := serve(t, origin.Handler().ServeHTTP) + "/filecache/" + sum(data)
	want(t, ensure(t, s, sum(data), from(url)), true, "Download")
}

func TestParallelPresence(t *testing.T) {
	data := blob(1 << 20)
	c := open(t, t.TempDir(), filecache.Options{})
	put(t, c, sum(data), data)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if there, err := c.Present(t.Context(), sum(data)); !there || err != nil {
				t.Errorf("%v, %v", there, err)
			}
		})
	}
	wg.Wait()
}

func TestEviction(t *testing.T) {
	names := []string{"oldest", "older", "old", "young", "new"}
	cases := []struct {
		name  string
		opts  filecache.Options
		inUse []string
		since time.Duration // ago; 0 is no rule
		gone  []string
	}{
		{"no limits", filecache.Options{}, nil, 0, nil},
		{"size", filecache.Options{MaxBytes: 350}, nil, 0, []string{"oldest", "older"}},
		{"age", filecache.Options{MaxAge: 150 * time.Minute}, nil, 0, []string{"oldest", "older"}},
		{"size, but in use", filecache.Options{MaxBytes: 350}, []string{"oldest", "old"}, 0, []string{"older", "young"}},
		{"age, but in use", filecache.Options{MaxAge: time.Minute}, names, 0, nil},
		{"size, but used since", filecache.Options{MaxBytes: 1}, nil, 150 * time.Minute, []string{"oldest", "older"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			c := open(t, t.TempDir(), tc.opts)
			now := time.Now()
			for i, name := range names {
				put(t, c, name, make([]byte, 100))
				used := now.Add(-time.Duration(len(names)-1-i) * time.Hour)
				if err := os.Chtimes(filepath.Join(c.Dir(), name), used, used); err != nil {
					t.Fatal(err)
				}
			}
			since := time.Time{}
			if tc.since > 0 {
				since = now.Add(-tc.since)
			}
			c.SetInUse(tc.inUse, since)
			freed, err := c.Evict(t.Context())
			if err != nil || freed != int64(100*len(tc.gone)) {
				t.Errorf("freed %d, %v", freed, err)
			}
			left := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(tc.gone, n) })
			checkClean(t, c, left...)
		})
	}
}

func TestUseDefersEviction(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{MaxBytes: 250})
	for i, name := range []string{"a", "b", "c"} {
		put(t, c, name, make([]byte, 100))
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(c.Dir(), name), used, used); err != nil {
			t.Fatal(err)
		}
	}
	want(t, ensure(t, c, "a", from("http://unused.invalid/")), true, "Cache")
	if _, err := c.Evict(t.Context()); err != nil {
		t.Error(err)
	}
	checkClean(t, c, "a", "c")
}

func TestADownloadEvictsOthersButNotItself(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{MaxBytes: 10})
	put(t, c, "old", make([]byte, 100))
	put(t, c, "buildlog", make([]byte, 1000))
	origin := open(t, t.TempDir(), filecache.Options{})
	s, err := origin.Store(t.Context(), bytes.NewReader(blob(1000)))
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, origin.Handler().ServeHTTP) + "/filecache/" + s.SHA1
	want(t, ensure(t, c, s.SHA1, from(url)), true, "Download")
	checkClean(t, c, s.SHA1, "buildlog")
}

func TestCleanTemporaries(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	kept := []string{"x.tmp", "entry", sum([]byte("x"))}
	for _, name := range append([]string{
		"storeFile.tmp", noSum + ".tmp", ".lpbuildd/tmp/left", ".lpbuildd/meta/gone.json", ".lpbuildd/meta/entry.json",
	}, kept...) {
		put(t, c, name, nil)
	}
	if err := c.CleanTemporaries(); err != nil {
		t.Error(err)
	}
	checkClean(t, c, kept...)
	if left := list(t, filepath.Join(c.StateDir(), "meta")); !slices.Equal(left, []string{"entry.json"}) {
		t.Errorf("records: %q", left)
	}
}

func TestFilesBelongToTheOwnerOfTheFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to give files away")
	}
	for _, owner := range []*filecache.Owner{nil, {UID: 1234, GID: 4321}} {
		dir := t.TempDir()
		if err := os.Chown(dir, 1234, 4321); err != nil {
			t.Fatal(err)
		}
		c := open(t, dir, filecache.Options{Owner: owner})
		s, err := c.Store(t.Context(), strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{s.SHA1, ".lpbuildd", ".lpbuildd/tmp", ".lpbuildd/meta", ".lpbuildd/meta/" + s.SHA1 + ".json"} {
			info, err := os.Lstat(filepath.Join(dir, path))
			if err != nil {
				t.Fatal(err)
			}
			if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 4321 {
				t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
			}
		}
	}
}
