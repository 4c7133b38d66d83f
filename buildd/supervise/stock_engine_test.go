package supervise

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lpbuildd/buildd/job"
)

// imageEngine is a container engine with three images of ours, one of which a
// container uses, and notes what is deleted.
type imageEngine struct {
	mu      sync.Mutex
	deleted []string
}

func (e *imageEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const image = `{"fingerprint": "f%[1]s", "size": 10, "last_used_at": "%[2]s-01-01T00:00:00Z", "aliases": [{"name": "lpbuildd-%[1]s-1-noble-amd64"}]}`
	answer := map[string]string{
		"/1.0":              `{"auth": "trusted", "api_extensions": ["instances"], "environment": {"server": "incus", "driver": "lxc", "driver_version": "6.0"}}`,
		"/1.0/images":       "[" + fmt.Sprintf(image, "aa", "2025") + "," + fmt.Sprintf(image, "bb", "2026") + "," + fmt.Sprintf(image, "cc", "2024") + "]",
		"/1.0/instances":    `[{"name": "c", "config": {"volatile.base_image": "fcc"}}]`,
		"/1.0/operations/o": `{"id": "o", "status": "Success", "status_code": 200}`,
	}[strings.TrimSuffix(r.URL.Path, "/wait")]
	if r.Method == http.MethodDelete {
		e.mu.Lock()
		e.deleted = append(e.deleted, filepath.Base(r.URL.Path))
		e.mu.Unlock()
		_, _ = fmt.Fprint(w, `{"type": "async", "operation": "/1.0/operations/o", "metadata": {"id": "o"}}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"type": "sync", "metadata": %s}`, answer)
}

func TestStockOfAnEngine(t *testing.T) {
	for _, tt := range []struct {
		name    string
		request job.StockRequest
		want    []string
		deleted []string
		problem string
	}{
		{"a list", job.StockRequest{Do: job.StockList}, []string{"aa gone", "bb", "cc"}, nil, ""},
		{"a collection", job.StockRequest{Do: job.StockCollect}, []string{"aa gone"}, []string{"faa"}, ""},
		{"one image", job.StockRequest{Do: job.StockRemove, Image: "bb"}, []string{"bb gone"}, []string{"fbb"}, ""},
		{"one image that a container uses", job.StockRequest{Do: job.StockRemove, Image: "cc"}, nil, nil, "a container uses it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stockFolder(t)
			e := &imageEngine{}
			tt.request.MaxRoots = 5
			tt.request.Container = job.Container{Socket: listenAs(t, e), MaxImages: 2}
			request, err := json.Marshal(tt.request)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			var report job.StockReport
			if err := Stock(t.Context(), bytes.NewReader(request), &out); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(out.Bytes(), &report); err != nil {
				t.Fatal(err)
			}
			report.Stock = slices.DeleteFunc(report.Stock, func(k job.Stock) bool { return k.Kind != job.StockImage })
			var got []string
			for _, words := range inWords(report) {
				got = append(got, strings.TrimPrefix(words, "imported image "))
			}
			problems := strings.Join(report.Problems, "; ")
			if !slices.Equal(got, tt.want) || !slices.Equal(e.deleted, tt.deleted) || !strings.Contains(problems, tt.problem) || tt.problem == "" && problems != "" {
				t.Errorf("got %q, deleted %q, problems %q", got, e.deleted, problems)
			}
		})
	}
}

// listenAs serves as a container engine and returns its socket.
func listenAs(t *testing.T, e http.Handler) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(e)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return socket
}
