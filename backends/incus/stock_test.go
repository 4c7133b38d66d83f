package incus

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// stockEngine has images and a container, and notes what is deleted.
type stockEngine struct {
	mu      sync.Mutex
	deleted []string
}

func (k *stockEngine) serve(w http.ResponseWriter, r *http.Request) {
	const image = `{"fingerprint": %q, "size": 1000, "last_used_at": %q, "aliases": [{"name": %q}]}`
	answer := "{}"
	switch path := r.URL.Path; {
	case r.Method == http.MethodDelete && strings.HasSuffix(path, "/vanished"):
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, `{"type": "error", "error_code": 404, "error": "Image not found"}`)
		return
	case r.Method == http.MethodDelete:
		k.mu.Lock()
		k.deleted = append(k.deleted, strings.TrimPrefix(path, "/1.0/images/"))
		k.mu.Unlock()
		_, _ = fmt.Fprint(w, `{"type": "async", "operation": "/1.0/operations/o", "metadata": {"id": "o"}}`)
		return
	case strings.HasPrefix(path, "/1.0/operations/"):
		answer = `{"id": "o", "status": "Success", "status_code": 200}`
	case path == "/1.0/images":
		answer = "[" + strings.Join([]string{
			fmt.Sprintf(image, "old", "2025-01-01T00:00:00Z", "lpbuildd-aa-1-noble-amd64"),
			fmt.Sprintf(image, "new", "2026-01-01T00:00:00Z", "lpbuildd-bb-lxd"),
			fmt.Sprintf(image, "busy", "2024-01-01T00:00:00Z", "lpbuildd-cc-1-noble-amd64"),
			fmt.Sprintf(image, "theirs", "2024-01-01T00:00:00Z", "debian/12"),
		}, ",") + "]"
	case path == "/1.0/instances":
		answer = `[{"name": "c", "config": {"volatile.base_image": "busy"}}]`
	case strings.HasPrefix(path, "/1.0/storage-pools/"):
		answer = `{"name": "fast", "driver": "btrfs"}`
	}
	_, _ = fmt.Fprintf(w, `{"type": "sync", "metadata": %s}`, answer)
}

func TestStockImages(t *testing.T) {
	engine := &stockEngine{}
	cfg := listen(t, LXD, engine.serve)
	cfg.MaxImages, cfg.Pool = 2, "fast"
	s, err := OpenStock(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	images, err := s.Images(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range images {
		got = append(got, fmt.Sprintf("%s %s %s %d in use %v excess %v", i.Engine, i.Fingerprint, i.SHA1, i.Bytes, i.InUse, i.Excess))
	}
	want := []string{
		"LXD old aa 1000 in use false excess true", "LXD new bb 1000 in use false excess false", "LXD busy cc 1000 in use true excess false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, image := range []StockImage{images[0], {Fingerprint: "vanished"}} {
		if err := s.Remove(t.Context(), image); err != nil {
			t.Errorf("%s: %v", image.Fingerprint, err)
		}
	}
	if !slices.Equal(engine.deleted, []string{"old"}) {
		t.Errorf("deleted were %q", engine.deleted)
	}
	host, err := s.Describe(t.Context())
	if err != nil || !host.CopyOnWrite() || host.Pool != "fast" || host.Engine != "LXD" {
		t.Errorf("described as %+v, %v", host, err)
	}
}

func TestInstalled(t *testing.T) {
	there := listen(t, LXD, hang(t))
	if !Installed(there) || !Installed(Config{Remote: "https://host"}) || Installed(Config{Socket: there.Socket + ".none"}) {
		t.Error("it is not the socket that tells")
	}
	if _, err := OpenStock(t.Context(), Config{Engine: "none"}); err == nil {
		t.Error("an unknown engine is opened")
	}
}
