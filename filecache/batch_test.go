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
