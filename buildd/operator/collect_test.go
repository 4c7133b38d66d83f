package operator

import (
	"os"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

func TestCollectSparesWhatABuildUses(t *testing.T) {
	r := newRig(t, `{"stock": [{"kind": "trash", "bytes": 5, "gone": true}, {"kind": "unpacked image", "image": "aa", "bytes": 7}], "problems": ["one"]}`,
		"cache.maxsize=1", "cache.roots=3")
	used, result, unused, recent := r.file("used", time.Hour), r.file("result", time.Hour), r.file("unused", time.Hour), r.file("recent", 0)
	r.at(map[string]any{
		"state": "WAITING", "build_id": "B-1", "inputs": []string{used},
		"outcome": job.Outcome{BuildID: "B-1", Status: verdict.OK, FileMap: map[string]string{"x": result}},
	})
	for _, dryRun := range []bool{true, false} {
		c := r.Collect(t.Context(), dryRun)
		if len(c.Removed) != 2 || c.Removed[0].Name != unused || c.Removed[1].Kind != "trash" || c.Bytes != c.Removed[0].Bytes+5 || len(c.Problems) != 1 {
			t.Errorf("dry run %v: %+v", dryRun, c)
		}
		want := map[bool]string{true: `"do":"list"`, false: `"do":"collect"`}[dryRun]
		if got := r.request(); !strings.Contains(got, want) || !strings.Contains(got, `"keep_roots":3`) {
			t.Errorf("asked for %s", got)
		}
		if r.has(unused) != dryRun {
			t.Errorf("dry run %v: the unused file is there: %v", dryRun, r.has(unused))
		}
	}
	for _, kept := range []string{used, result, recent} {
		if !r.has(kept) {
			t.Errorf("%s is gone", kept)
		}
	}
}

func TestCollectRemovesNothingWhenItCannotTellWhatIsUsed(t *testing.T) {
	r := newRig(t, "{}", "cache.maxage=1m")
	unused := r.file("unused", time.Hour)
	if err := os.WriteFile(r.State().Journal(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Launcher.Stock = []string{"false"}
	c := r.Collect(t.Context(), false)
	if len(c.Removed) != 0 || len(c.Problems) != 2 || !strings.Contains(c.Problems[1], "false: exit status 1") {
		t.Errorf("got %+v", c)
	}
	if !r.has(unused) {
		t.Error("the file is gone")
	}
}

func TestRemoveImage(t *testing.T) {
	r := newRig(t, `{"stock": [{"kind": "unpacked image", "image": "aa", "bytes": 7, "gone": true}]}`)
	image := r.file("image", 0)
	c, err := r.RemoveImage(t.Context(), image)
	if err != nil || len(c.Removed) != 2 || c.Removed[1].Name != image || c.Bytes != c.Removed[1].Bytes+7 || r.has(image) {
		t.Errorf("got %+v, %v", c, err)
	}
	if got := r.request(); !strings.Contains(got, `"do":"remove","image":"`+image) {
		t.Errorf("asked for %s", got)
	}
	nothing := newRig(t, "{}")
	if _, err := nothing.RemoveImage(t.Context(), image); err == nil || !strings.Contains(err.Error(), "there is no base image") {
		t.Errorf("once more: %v", err)
	}
}

func TestRemoveImageRefusesWhatIsUsed(t *testing.T) {
	r := newRig(t, `{"problems": ["a container uses it"]}`)
	image := r.file("image", 0)
	if _, err := r.RemoveImage(t.Context(), image); err == nil || !strings.Contains(err.Error(), "a container uses it") {
		t.Errorf("what a container uses: %v", err)
	}
	if err := os.Remove(r.asked); err != nil {
		t.Fatal(err)
	}
	r.at(map[string]any{"state": "BUILDING", "build_id": "B-1", "inputs": []string{image}})
	if _, err := r.RemoveImage(t.Context(), image); err == nil || !strings.Contains(err.Error(), `the build "B-1" (BUILDING) uses it`) {
		t.Errorf("what a build uses: %v", err)
	}
	if r.request() != "" || !r.has(image) {
		t.Error("something was removed")
	}
}

func TestWhatIsStockOfImagesIsListed(t *testing.T) {
	images := []Image{{SHA1: "aa", Cached: true}}
	for _, k := range []job.Stock{
		{Kind: job.StockRoot, Image: "aa", Bytes: 5, InUse: true},
		{Kind: job.StockImage, Image: "aa", Engine: "LXD"},
		{Kind: job.StockImage, Image: "aa", Engine: "LXD"},
		{Kind: job.StockImage, Image: "bb", Engine: "Incus"},
		{Kind: job.StockTrash, Bytes: 9},
	} {
		images = addStock(images, k)
	}
	if len(images) != 2 || images[0].Unpacked != 5 || !images[0].InUse || len(images[0].Imported) != 1 ||
		images[1].SHA1 != "bb" || images[1].Cached || len(images[1].Imported) != 1 {
		t.Errorf("got %+v", images)
	}
}
