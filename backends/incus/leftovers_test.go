package incus

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestLeftoversAreFoundByNameAndMark: only those of builds of this builder go, and
// none that is kept.
func TestLeftoversAreFoundByNameAndMark(t *testing.T) {
	own := containerName(Config{Instance: "b-1", BuildID: "B-1", Series: "noble", Arch: "amd64"})
	spared := containerName(Config{Instance: "b-1", BuildID: "B-2", Series: "noble", Arch: "amd64"})
	other := containerName(Config{Instance: "1", BuildID: "B-1", Series: "noble", Arch: "amd64"})
	unmarked := containerName(Config{Instance: "b-1", BuildID: "B-3", Series: "noble", Arch: "amd64"})
	profileOnly := containerName(Config{Instance: "b-1", BuildID: "B-4", Series: "noble", Arch: "amd64"})
	var mu sync.Mutex
	var deleted []string
	cfg := listen(t, Incus, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answer := "{}"
		switch path := strings.TrimPrefix(r.URL.Path, "/1.0/"); {
		case r.Method == http.MethodDelete:
			deleted = append(deleted, path)
			if strings.HasPrefix(path, "instances/") {
				_, _ = io.WriteString(w, `{"type": "async", "operation": "/1.0/operations/o", "metadata": {"id": "o"}}`)
				return
			}
		case strings.HasPrefix(path, "operations/"):
			answer = `{"id": "o", "status": "Success", "status_code": 200}`
		case strings.HasSuffix(path, "/state"):
			answer = `{"status": "Stopped", "status_code": 102}`
		case path == "instances":
			var list []string
			for _, name := range []string{own, spared, other, "database"} {
				list = append(list, fmt.Sprintf(`{"name": %q, "profiles": [%q]}`, name, name))
			}
			list = append(list, fmt.Sprintf(`{"name": %q, "profiles": ["default"]}`, unmarked))
			answer = "[" + strings.Join(list, ",") + "]"
		case path == "profiles":
			answer = fmt.Sprintf(`[{"name": %q, "description": %q}, {"name": %q, "description": "mine"}, {"name": "default"}]`, profileOnly, profileText, unmarked)
		}
		_, _ = fmt.Fprintf(w, `{"type": "sync", "metadata": %s}`, answer)
	})
	cfg.Instance = "b-1"
	var told []string
	err := CleanInstance(t.Context(), cfg, func(name string) bool { return name == spared }, func(kind, name string) { told = append(told, kind+" "+name) })
	if want := []string{"instances/" + own, "profiles/" + profileOnly}; err != nil || !slices.Equal(deleted, want) || len(told) != 2 {
		t.Errorf("deleted %v, told of %v, %v; want %v", deleted, told, err, want)
	}
}

func TestNamesOfBuildersAreToldApart(t *testing.T) {
	long := strings.Repeat("long", 20)
	instances := []string{"default", "b-1", "1", "a", long, long + "1", long + "2"}
	for _, instance := range instances {
		name := containerName(Config{Instance: instance, BuildID: "B", Series: "noble", Arch: "amd64"})
		for _, other := range instances {
			if got := OfInstance(other, name); got != (other == instance) {
				t.Errorf("%s is of %s: %v", name, other, got)
			}
		}
	}
}
