package filecache_test

import (
	"fmt"
	"strings"
	"testing"

	"lpbuildd/filecache"
)

func TestABatchIsLikeTheCache(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	if _, err := c.Store(t.Context(), strings.NewReader("content 7")); err != nil {
		t.Fatal(err)
	}
	batch := c.NewBatch()
	for i := range 100 {
		content := fmt.Sprintf("content %d", i)
		s, err := batch.Store(t.Context(), strings.NewReader(content))
		if err != nil || s.New == (i == 7) || s.SHA1 != sum([]byte(content)) {
			t.Fatalf("%d: got %+v, %v", i, s, err)
		}
	}
	if err := batch.Sync(); err != nil {
		t.Error(err)
	}
	if all, err := c.Entries(); err != nil || len(all) != 100 {
		t.Errorf("got %d, %v", len(all), err)
	}
}

func TestManyEntriesAreRemovedTogether(t *testing.T) {
	dir := t.TempDir()
	c, err := filecache.Open(dir, filecache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	batch := c.NewBatch()
	var names []string
	for i := range 100 {
		s, err := batch.Store(t.Context(), strings.NewReader(fmt.Sprintf("content %d", i)))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.SHA1)
	}
	kept := names[99]
	if err := c.RemoveAll(append(names[:99:99], noSum)); err != nil {
		t.Error(err)
	}
	if all, err := c.Entries(); err != nil || len(all) != 1 || all[0].Name != kept {
		t.Errorf("got %v, %v", all, err)
	}
	if there, err := c.Present(t.Context(), names[0]); there || err != nil {
		t.Errorf("one that was removed is there: %v, %v", there, err)
	}
	if err := c.RemoveAll(append(names[:99:99], "../x")); err == nil {
		t.Error("a path is taken for a name")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	// Close may have come first; the next start goes on.
	again := open(t, dir, filecache.Options{})
	if err := again.CleanTemporaries(); err != nil {
		t.Error(err)
	}
	checkClean(t, again, kept)
}

func BenchmarkBatch(b *testing.B) {
	for _, files := range []int{5, 3000} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			c := open(b, b.TempDir(), filecache.Options{})
			b.ReportAllocs()
			for run := 0; b.Loop(); run++ {
				batch := c.NewBatch()
				for i := range files {
					if _, err := batch.Store(b.Context(), strings.NewReader(fmt.Sprint(run, i))); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Sync(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
