package filecache_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lpbuildd/filecache"
)

// names of entries, sorted.
func namesOf(entries []filecache.Entry) []string {
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
	}
	slices.Sort(names)
	return names
}

func TestCollect(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{MaxBytes: 250, MaxAge: 100 * time.Hour})
	for i, name := range []string{"a", "b", "c", "used", "buildlog"} {
		put(t, c, name, make([]byte, 100))
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		if err := os.Chtimes(filepath.Join(c.Dir(), name), used, used); err != nil {
			t.Fatal(err)
		}
	}
	put(t, c, noSum+".tmp", make([]byte, 5000))
	put(t, c, ".lpbuildd/tmp/dead", make([]byte, 7))
	c.SetInUse([]string{"a"}, time.Time{})
	before := list(t, c.Dir())

	for _, dryRun := range []bool{true, false} {
		got, err := c.Collect(t.Context(), dryRun)
		if err != nil || !slices.Equal(namesOf(got.Entries), []string{"b", "c"}) ||
			!slices.Equal(namesOf(got.Temporaries), []string{".lpbuildd/tmp/dead", noSum + ".tmp"}) {
			t.Errorf("dry run %v: %+v, %v", dryRun, got, err)
		}
		if left := list(t, c.Dir()); dryRun && !slices.Equal(left, before) {
			t.Errorf("the dry run has left %q of %q", left, before)
		}
		for _, e := range append(got.Entries, got.Temporaries...) {
			if e.Size == 0 || e.Disk < e.Size {
				t.Errorf("%+v has no size", e)
			}
		}
	}
	checkClean(t, c, "a", "buildlog", "used")
	if got, err := c.Collect(t.Context(), false); err != nil || len(got.Entries)+len(got.Temporaries) > 0 {
		t.Errorf("once more: %+v, %v", got, err)
	}
}

func TestCollectLeavesWhatAnotherProcessWrites(t *testing.T) {
	dir := t.TempDir()
	daemon, operator := open(t, dir, filecache.Options{}), open(t, dir, filecache.Options{})
	during := func() {
		if got, err := operator.Collect(t.Context(), false); err != nil || len(got.Temporaries) > 0 {
			t.Errorf("collected %+v, %v", got, err)
		}
	}
	content := &callback{data: []byte("content"), during: during}
	s, err := daemon.Store(t.Context(), content)
	if err != nil {
		t.Fatal(err)
	}
	checkClean(t, daemon, s.SHA1)
}

// callback is a reader during which something else happens.
type callback struct {
	data   []byte
	during func()
}

func (c *callback) Read(p []byte) (int, error) {
	if c.during != nil {
		c.during()
		c.during = nil
		return copy(p, c.data), nil
	}
	return 0, io.EOF
}
