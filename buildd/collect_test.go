package buildd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
	"lpbuildd/filecache"
)

// helper answers like the one that looks after what is kept, and notes what it
// was asked for.
func helper(t *testing.T, answer string) (l buildd.Launcher, asked string) {
	t.Helper()
	asked = filepath.Join(t.TempDir(), "asked")
	l.Stock = []string{"sh", "-c", `cat >"$0"; printf '%s' "$1"`, asked, answer}
	return l, asked
}

// old makes a cache entry that was used long ago.
func (r *rig) old(content string) string {
	r.t.Helper()
	sum := r.store(content)
	long := time.Now().Add(-time.Hour)
	for _, path := range []string{filepath.Join(r.config.Cache.Dir(), sum), r.inState("meta", sum+".json")} {
		if err := os.Chtimes(path, long, long); err != nil {
			r.t.Fatal(err)
		}
	}
	return sum
}

func TestCollectSparesWhatABuildUses(t *testing.T) {
	r := newRig(t)
	used, result, unused, recent := r.old("used"), r.old("result"), r.old("unused"), r.store("recent")
	r.Close()
	journal := map[string]any{"state": "WAITING", "build_id": "B-1", "inputs": []string{used}, "outcome": job.Outcome{BuildID: "B-1", Status: "OK", FileMap: map[string]string{"x": result}}}
	if err := disk.WriteJSON(r.inState("journal.json"), journal); err != nil {
		t.Fatal(err)
	}
	// An operator is another process.
	cache, err := filecache.Open(r.config.Cache.Dir(), filecache.Options{MaxBytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }()
	l, asked := helper(t, `{"stock": [{"kind": "trash", "bytes": 5, "gone": true}, {"kind": "unpacked image", "image": "aa", "bytes": 7}], "problems": ["one"]}`)
	for _, dryRun := range []bool{true, false} {
		c := buildd.Collect(t.Context(), cache, l, job.StockRequest{KeepRoots: 3}, dryRun)
		if len(c.Removed) != 2 || c.Removed[0].Name != unused || c.Removed[1].Kind != "trash" || c.Bytes != c.Removed[0].Bytes+5 || len(c.Problems) != 1 {
			t.Errorf("dry run %v: %+v", dryRun, c)
		}
		request, err := os.ReadFile(asked)
		want := map[bool]string{true: `"do":"list"`, false: `"do":"collect"`}[dryRun]
		if err != nil || !strings.Contains(string(request), want) || !strings.Contains(string(request), `"keep_roots":3`) {
			t.Errorf("asked for %s, %v", request, err)
		}
		if _, err := os.Lstat(filepath.Join(cache.Dir(), unused)); (err == nil) != dryRun {
			t.Errorf("dry run %v: the unused file: %v", dryRun, err)
		}
	}
	for _, kept := range []string{used, result, recent} {
		if _, err := os.Lstat(filepath.Join(cache.Dir(), kept)); err != nil {
			t.Error(err)
		}
	}
}

func TestCollectRemovesNothingWhenItCannotTellWhatIsUsed(t *testing.T) {
	r := newRig(t)
	unused := r.old("unused")
	r.write(r.inState("journal.json"), "{")
	cache, err := filecache.Open(r.config.Cache.Dir(), filecache.Options{MaxAge: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close() }()
	c := buildd.Collect(t.Context(), cache, buildd.Launcher{Stock: []string{"false"}}, job.StockRequest{}, false)
	if len(c.Removed) != 0 || len(c.Problems) != 2 || !strings.Contains(c.Problems[1], "false: exit status 1") {
		t.Errorf("got %+v", c)
	}
	if _, err := os.Lstat(filepath.Join(cache.Dir(), unused)); err != nil {
		t.Error(err)
	}
}

func TestABuilderThatNeverRanKeepsNothing(t *testing.T) {
	report, err := buildd.Launcher{Stock: []string{"false"}}.AskStock(t.Context(), state.Folder(t.TempDir()), job.StockRequest{})
	if err != nil || len(report.Stock) > 0 {
		t.Errorf("got %+v, %v", report, err)
	}
}

func TestRemoveImage(t *testing.T) {
	r := newRig(t)
	cache := r.config.Cache
	l, asked := helper(t, `{"stock": [{"kind": "unpacked image", "image": "aa", "bytes": 7, "gone": true}]}`)
	c, err := buildd.RemoveImage(t.Context(), cache, l, job.StockRequest{Image: r.image})
	if err != nil || len(c.Removed) != 2 || c.Removed[1].Name != r.image || c.Bytes != c.Removed[1].Bytes+7 || r.has(r.image) {
		t.Errorf("got %+v, %v", c, err)
	}
	if request, err := os.ReadFile(asked); err != nil || !strings.Contains(string(request), `"do":"remove","image":"`+r.image) {
		t.Errorf("asked for %s, %v", request, err)
	}
	nothing, _ := helper(t, "{}")
	if _, err := buildd.RemoveImage(t.Context(), cache, nothing, job.StockRequest{Image: r.image}); err == nil || !strings.Contains(err.Error(), "there is no base image") {
		t.Errorf("once more: %v", err)
	}
}

func TestRemoveImageRefusesWhatIsUsed(t *testing.T) {
	r := newRig(t)
	locked, _ := helper(t, `{"problems": ["a container uses it"]}`)
	if _, err := buildd.RemoveImage(t.Context(), r.config.Cache, locked, job.StockRequest{Image: r.image}); err == nil || !strings.Contains(err.Error(), "a container uses it") {
		t.Errorf("what a container uses: %v", err)
	}
	r.build("wait")
	l, asked := helper(t, "{}")
	_, err := buildd.RemoveImage(t.Context(), r.config.Cache, l, job.StockRequest{Image: r.image})
	if err == nil || !strings.Contains(err.Error(), `the build "B-1" (BUILDING) uses it`) {
		t.Errorf("what a build uses: %v", err)
	}
	if _, err := os.Lstat(asked); err == nil || !r.has(r.image) {
		t.Error("something was removed")
	}
	if err := r.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.awaitEnd()
}
