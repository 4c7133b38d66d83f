package filecache

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"lpbuildd/disk"
)

// TestWhatIsUsedMeanwhileIsNotEvicted, perhaps by another process.
func TestWhatIsUsedMeanwhileIsNotEvicted(t *testing.T) {
	dir := t.TempDir()
	c, err := Open(dir, Options{MaxBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for i, name := range []string{"first", "second", "third"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("12345"), 0o600); err != nil {
			t.Fatal(err)
		}
		used := time.Now().Add(time.Duration(i-9) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, name), used, used); err != nil {
			t.Fatal(err)
		}
	}
	var gone []string
	err = c.evictor.eachExcessive(t.Context(), disk.Room{}, func(e Entry) error {
		gone = append(gone, e.Name)
		if _, err := c.Present(t.Context(), "second"); err != nil {
			return err
		}
		return c.Remove(e.Name)
	})
	if want := []string{"first", "third"}; err != nil || !slices.Equal(gone, want) {
		t.Errorf("evicted %v, %v, want %v", gone, err, want)
	}
}
