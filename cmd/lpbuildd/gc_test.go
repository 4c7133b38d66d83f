package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cached puts a file into the cache that was used long ago.
func (o *operated) cached(name, content string) string {
	o.t.Helper()
	path := filepath.Join(o.cache, name)
	o.write(path, content)
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	if err := os.Chtimes(path, long, long); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func TestGC(t *testing.T) {
	o := newOperated(t)
	path := o.cached("unused", strings.Repeat("x", 5000))
	limit := []string{"--set", "cache.maxage=1d"}
	o.says("0 B would be freed by 0 removal(s)\n", "gc", "--dry-run")
	o.says("would remove  cached file  unused  8.0 KiB  last used 2026-01-02 03:04\n8.0 KiB would be freed by 1 removal(s)\n", append(limit, "gc", "--dry-run")...)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	out, err := o.run(append(limit, "gc", "--json")...)
	var got struct {
		DryRun  bool `json:"dry_run"`
		Bytes   int64
		Removed []map[string]any
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.DryRun || got.Bytes < 5000 || len(got.Removed) != 1 || got.Removed[0]["name"] != "unused" {
		t.Errorf("printed %s, %v", out, err)
	}
	if _, statErr := os.Lstat(path); err != nil || !os.IsNotExist(statErr) {
		t.Errorf("%v; after it: %v", err, statErr)
	}
}

func TestGCReportsWhatItCannotDo(t *testing.T) {
	o := newOperated(t)
	o.write(o.state().Journal(), "{")
	out, err := o.run("gc")
	if err == nil || !strings.Contains(err.Error(), "1 problem(s), see above") || !strings.Contains(out, "problem: cannot tell what the builder does") {
		t.Errorf("printed %s, %v", out, err)
	}
}

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1536: "1.5 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}
