package supervise

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
)

// stockFolder is a state folder with two unpacked images and trash; the working
// directory is the build's.
func stockFolder(t *testing.T) (state string) {
	t.Helper()
	state = t.TempDir()
	for path, size := range map[string]int{
		"build/reserve": 0, "trash/x": 4096, "roots/aa.lock": 0, "roots/aa.root/complete": 0, "roots/aa.root/chroot-autobuild/x": 4096,
		"roots/bb.lock": 0, "roots/bb.root/chroot-autobuild/x": 4096,
	} {
		path = filepath.Join(state, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(state, "build"))
	t.Setenv("SUDO_UID", "")
	return state
}

// askStock asks for something, with no container engine.
func askStock(t *testing.T, r job.StockRequest) (job.StockReport, error) {
	t.Helper()
	r.Container.Socket = "/nonexistent"
	request, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Stock(t.Context(), bytes.NewReader(request), &out); err != nil {
		return job.StockReport{}, err
	}
	var report job.StockReport
	return report, json.Unmarshal(out.Bytes(), &report)
}

func TestStockRefusesWhatIsTooLong(t *testing.T) {
	stockFolder(t)
	if _, err := askStock(t, job.StockRequest{Do: strings.Repeat("x", 1<<20)}); err == nil || err.Error() != "cannot read the request: it is larger than 1048576 bytes" {
		t.Errorf("got %.200v", err)
	}
}

// inWords are the things of a report.
func inWords(r job.StockReport) []string {
	var words []string
	for _, k := range r.Stock {
		text := strings.TrimSpace(k.Kind + " " + k.Image)
		if k.Gone {
			text += " gone"
		}
		words = append(words, text)
	}
	slices.Sort(words)
	return words
}

func TestStock(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request job.StockRequest
		want    []string
		left    int // names in the folder of roots
	}{
		{"a list changes nothing", job.StockRequest{Do: job.StockList, MaxRoots: 1}, []string{"half-unpacked image bb gone", "trash gone", "unpacked image aa"}, 4},
		{"a list with lower limits", job.StockRequest{Do: job.StockList}, []string{"half-unpacked image bb gone", "trash gone", "unpacked image aa gone"}, 4},
		{"a collection within the limits", job.StockRequest{Do: job.StockCollect, MaxRoots: 1}, []string{"half-unpacked image bb gone", "trash gone"}, 2},
		{"a collection with lower limits", job.StockRequest{Do: job.StockCollect}, []string{"half-unpacked image bb gone", "trash gone", "unpacked image aa gone"}, 0},
		{"one image", job.StockRequest{Do: job.StockRemove, Image: "aa"}, []string{"unpacked image aa gone"}, 2},
		{"an image that is not there", job.StockRequest{Do: job.StockRemove, Image: "cc"}, nil, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			state := stockFolder(t)
			got, err := askStock(t, tt.request)
			if err != nil || len(got.Problems) > 0 || !slices.Equal(inWords(got), tt.want) {
				t.Errorf("got %q, %v, %v; want %q", inWords(got), got.Problems, err, tt.want)
			}
			left, _ := filepath.Glob(filepath.Join(state, "roots/*"))
			if len(left) != tt.left {
				t.Errorf("left are %q", left)
			}
		})
	}
}

func TestStockRefuses(t *testing.T) {
	stockFolder(t)
	for want, r := range map[string]job.StockRequest{
		`cannot do ""`:        {},
		"it is a path":        {Do: job.StockRemove, Image: "../trash"},
		"it is empty":         {Do: job.StockRemove},
		`cannot do "destroy"`: {Do: "destroy"},
	} {
		if _, err := askStock(t, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
	t.Setenv("SUDO_UID", "12345")
	if _, err := askStock(t, job.StockRequest{Do: job.StockList}); err == nil || !strings.Contains(err.Error(), "belongs to uid") {
		t.Errorf("in the folder of somebody else: %v", err)
	}
}
