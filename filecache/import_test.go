package filecache_test

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lpbuildd/filecache"
)

func TestImportOfAFile(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, isNew := range []bool{true, false} {
		s, err := c.Import(t.Context(), path)
		if err != nil || s.SHA1 != sum([]byte("content")) || s.Size != 7 || s.New != isNew {
			t.Errorf("got %+v, %v", s, err)
		}
	}
	checkClean(t, c, sum([]byte("content")))
	for place, want := range map[string]string{
		filepath.Dir(path):      "it is not a regular file",
		path + ".none":          "no such file",
		"ftp://user:secret@h/x": "cannot fetch ftp://[redacted]@h/x: <urlopen error unknown url type: ftp>",
		"http://127.0.0.1:1/x":  "Connection refused",
	} {
		if _, err := c.Import(t.Context(), place); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", place, err, want)
		}
	}
}

func TestImportNeedsRoom(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{MinFree: 1 << 60})
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Import(t.Context(), path); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
	checkClean(t, c)
}

// TestImportFromAServerThatBreaksOff is about parts that nothing but a validator
// holds together, as there is no digest.
func TestImportFromAServerThatBreaksOff(t *testing.T) {
	data := blob(3 << 20)
	for name, tag := range map[string]string{"and has a validator": `"x"`, "and has none": ""} {
		t.Run(name, func(t *testing.T) {
			var requests, ranges atomic.Int32
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					ranges.Add(1)
				}
				if tag != "" {
					w.Header().Set("ETag", tag)
				}
				if requests.Add(1) == 1 {
					w.Header().Set("Content-Length", strconv.Itoa(len(data)))
					_, _ = w.Write(data[:2<<20])
					panic(http.ErrAbortHandler)
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			})
			c := open(t, t.TempDir(), filecache.Options{})
			s, err := c.Import(t.Context(), url)
			if err != nil || s.SHA1 != sum(data) || !s.New {
				t.Errorf("got %+v, %v", s, err)
			}
			if resumed := ranges.Load() > 0; resumed != (tag != "") {
				t.Errorf("resumed is %v", resumed)
			}
			checkClean(t, c, sum(data))
		})
	}
}

func TestRehash(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	s, err := c.Store(t.Context(), strings.NewReader("content"))
	if err != nil {
		t.Fatal(err)
	}
	// Bits that rot change neither the time of modification nor the size.
	path := filepath.Join(c.Dir(), s.SHA1)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path, []byte("CONTENT"), 0o644), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Rehash(t.Context(), s.SHA1); err != nil || got.SHA1 != sum([]byte("CONTENT")) {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := c.Rehash(t.Context(), noSum); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: %v", err)
	}
	if _, err := c.Rehash(t.Context(), "../x"); err == nil {
		t.Error("a path is taken for a name")
	}
	checkClean(t, c, s.SHA1)
}
