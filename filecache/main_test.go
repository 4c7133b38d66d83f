package filecache_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"lpbuildd/filecache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, dir string, o filecache.Options) *filecache.Cache {
	t.Helper()
	c, err := filecache.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func sum(data []byte) string {
	s := sha1.Sum(data)
	return hex.EncodeToString(s[:])
}

func blob(size int) []byte {
	data := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size)})
	_, _ = r.Read(data)
	return data
}

func put(t testing.TB, c *filecache.Cache, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.Dir(), name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func from(url string) filecache.Source { return filecache.Source{URL: &url} }

func ensure(t testing.TB, c *filecache.Cache, name string, src filecache.Source) filecache.Presence {
	t.Helper()
	p, err := c.Ensure(t.Context(), name, src)
	if err != nil {
		t.Fatalf("Ensure(%q): %v", name, err)
	}
	return p
}

func want(t testing.TB, got filecache.Presence, present bool, info string) {
	t.Helper()
	if got.Present != present || got.Info != info {
		t.Errorf("got (%v, %q), want (%v, %q)", got.Present, got.Info, present, info)
	}
}

// checkClean fails if there is anything in the cache but the entries, or any
// temporary.
func checkClean(t testing.TB, c *filecache.Cache, entries ...string) {
	t.Helper()
	slices.Sort(entries)
	if got := list(t, c.Dir()); !slices.Equal(got, append([]string{".lpbuildd"}, entries...)) {
		t.Errorf("the cache has %q, want %q", got, entries)
	}
	if got := list(t, filepath.Join(c.StateDir(), "tmp")); len(got) > 0 {
		t.Errorf("temporaries were left: %q", got)
	}
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
