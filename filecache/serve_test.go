package filecache_test

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lpbuildd/filecache"
)

func ask(t testing.TB, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "http://builder/", nil)
	path, query, _ := strings.Cut(target, "?")
	r.URL.RawQuery = query
	var err error
	if r.URL.Path, err = url.PathUnescape(path); err != nil {
		t.Skip("net/http answers 400 by itself")
	}
	r.URL.RawPath = path
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func bodyOf(t testing.TB, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestServingAFile(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	data := blob(1000)
	put(t, c, sum(data), data)
	target := "/filecache/" + sum(data)
	r := ask(t, c.Handler(), "GET", target)
	wanted := map[string]string{
		"Accept-Ranges": "bytes", "Content-Type": "text/html", "Content-Length": "1000", "Etag": "", "Content-Encoding": "",
	}
	for name, value := range wanted {
		if got := r.Header.Get(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if r.StatusCode != 200 || bodyOf(t, r) != string(data) {
		t.Errorf("status %d, or another body", r.StatusCode)
	}
	if r := ask(t, c.Handler(), "HEAD", target); r.StatusCode != 200 || r.Header.Get("Content-Length") != "1000" || bodyOf(t, r) != "" {
		t.Errorf("HEAD: %v", r)
	}
	for date, status := range map[string]int{
		r.Header.Get("Last-Modified"): 304, "Thu, 01 Jan 2037 00:00:00 GMT": 304, "Thu, 01 Jan 1998 00:00:00 GMT": 200, "rubbish": 200,
	} {
		if r := ask(t, c.Handler(), "GET", target, "If-Modified-Since", date); r.StatusCode != status {
			t.Errorf("If-Modified-Since %q: status %d, want %d", date, r.StatusCode, status)
		}
	}
}

func TestRangesOfAFile(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	data := blob(1000)
	put(t, c, "file", data)
	put(t, c, "empty", nil)
	cases := []struct {
		spec   string
		status int
		where  string
		body   []byte
	}{
		{"bytes=0-9", 206, "bytes 0-9/1000", data[:10]},
		{"bytes=990-", 206, "bytes 990-999/1000", data[990:]},
		{"bytes=-5", 206, "bytes 995-999/1000", data[995:]},
		{"bytes=-5000", 206, "bytes 0-999/1000", data},
		{"bytes=500-5000", 206, "bytes 500-999/1000", data[500:]},
		{"bytes=0-99999999999999999999", 206, "bytes 0-999/1000", data},
		{"bytes = 0-0 ,", 206, "bytes 0-0/1000", data[:1]},
		{"bytes=5-5,5000-", 206, "bytes 5-5/1000", data[5:6]},
		{"bytes=1000-", 416, "bytes */1000", nil},
		{"bytes=-0", 416, "bytes */1000", nil},
		{"bytes=99999999999999999999-", 416, "bytes */1000", nil},
		{"bytes=5-2", 200, "", data},
		{"garbage", 200, "", data},
		{"bytes=a-b", 200, "", data},
		{"bytes=-", 200, "", data},
		{"bytes=", 200, "", data},
		{"bytes=--5", 200, "", data},
		{"bytes=0-1,x", 200, "", data},
		{"items=0-1", 200, "", data},
		{"Bytes=0-1", 200, "", data},
	}
	for _, tc := range cases {
		r := ask(t, c.Handler(), "GET", "/filecache/file", "Range", tc.spec)
		if got := r.Header.Get("Content-Range"); r.StatusCode != tc.status || got != tc.where || bodyOf(t, r) != string(tc.body) {
			t.Errorf("%q: status %d, Content-Range %q, or another body", tc.spec, r.StatusCode, got)
		}
	}
	if r := ask(t, c.Handler(), "GET", "/filecache/empty", "Range", "bytes=0-"); r.StatusCode != 416 {
		t.Errorf("a range of an empty file: status %d", r.StatusCode)
	}
	for validator, status := range map[string]int{"Thu, 01 Jan 1998 00:00:00 GMT": 200, `"tag"`: 200} {
		r := ask(t, c.Handler(), "GET", "/filecache/file", "Range", "bytes=0-9", "If-Range", validator)
		if r.StatusCode != status {
			t.Errorf("If-Range %q: status %d, want %d", validator, r.StatusCode, status)
		}
	}
}

func TestSeveralRanges(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	data := blob(1000)
	put(t, c, "file", data)
	r := ask(t, c.Handler(), "GET", "/filecache/file", "Range", "bytes=0-9,100-119,-7")
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.StatusCode != 206 || media != "multipart/byteranges" {
		t.Fatalf("status %d, %q, %v", r.StatusCode, media, err)
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	for _, wanted := range [][2]int{{0, 9}, {100, 119}, {993, 999}} {
		p, err := parts.NextRawPart()
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(p)
		where := "bytes " + strconv.Itoa(wanted[0]) + "-" + strconv.Itoa(wanted[1]) + "/1000"
		if p.Header.Get("Content-Range") != where || !bytes.Equal(body, data[wanted[0]:wanted[1]+1]) {
			t.Errorf("part %v: %v", wanted, p.Header)
		}
	}
	if _, err := parts.NextRawPart(); err != io.EOF {
		t.Errorf("after the last part: %v", err)
	}
}

func TestVerbsAndPaths(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, filecache.Options{})
	for _, name := range []string{
		"file", "a b", "buildlog", "buildlog.unsanitized", "x.tmp", ".lpbuildd/tmp/t", ".lpbuildd/meta/m", ".lpbuildd/private",
	} {
		put(t, c, name, []byte("content"))
	}
	for name, target := range map[string]string{"link": "file", "out": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		method, path string
		status       int
	}{
		{"GET", "/filecache/file", 200},
		{"GET", "/filecache/file?x=1", 200},
		{"GET", "/filecache/%66ile", 200},
		{"GET", "/filecache/a%20b", 200},
		{"GET", "/filecache/buildlog", 200},
		{"GET", "/filecache/", 200},
		{"GET", "/filecache", 302},
		{"POST", "/filecache/file", 405},
		{"POST", "/filecache/", 405},
		{"PUT", "/filecache/file", 501},
		{"DELETE", "/filecache/file", 501},
		{"PATCH", "/filecache/file", 501},
		{"OPTIONS", "/filecache/file", 501},
		{"PUT", "/filecache/missing", 404},
		{"GET", "/filecache/missing", 404},
		{"HEAD", "/filecache/missing", 404},
		{"GET", "/filecache/" + strings.Repeat("x", 300), 404},
		{"GET", "/filecache/file/", 404},
		{"GET", "/filecache/file/x", 404},
		{"GET", "/filecache/folder", 404},
		{"GET", "/filecache/fifo", 404},
		{"GET", "/filecache/link", 404},
		{"GET", "/filecache/out", 404},
		{"GET", "/filecache/buildlog.unsanitized", 404},
		{"GET", "/filecache/x.tmp", 404},
		{"GET", "/filecache/.lpbuildd", 404},
		{"GET", "/filecache/.lpbuildd/private", 404},
		{"GET", "/filecache/.lpbuildd%2fprivate", 404},
		{"GET", "/filecache/.lpbuildd/tmp/t", 404},
		{"GET", "/filecache/.", 404},
		{"GET", "/filecache/..", 404},
		{"GET", "/filecache/../", 404},
		{"GET", "/filecache//file", 404},
		{"GET", "/filecache//etc/passwd", 404},
		{"GET", "/filecache/%2fetc%2fpasswd", 404},
		{"GET", "/filecache/..%2f..%2fetc%2fpasswd", 404},
		{"GET", "/filecache/%2e%2e/%2e%2e/etc/passwd", 404},
		{"GET", "/filecache/a%00b", 404},
		{"GET", "/filecache/%ff", 404},
		{"GET", "/elsewhere/file", 404},
	}
	for _, tc := range cases {
		r := ask(t, c.Handler(), tc.method, tc.path)
		body := bodyOf(t, r)
		if r.StatusCode != tc.status {
			t.Errorf("%s %s: status %d, want %d", tc.method, tc.path, r.StatusCode, tc.status)
		}
		if tc.status != 200 && (strings.Contains(body, "content") || strings.Contains(body, "root:")) {
			t.Errorf("%s %s leaks: %s", tc.method, tc.path, body)
		}
		if allow := r.Header.Get("Allow"); tc.status == 405 && allow != "GET, HEAD" {
			t.Errorf("Allow is %q", allow)
		}
	}
	if body := bodyOf(t, ask(t, c.Handler(), "GET", "/filecache/")); strings.Contains(body, "file<") || strings.Contains(body, "buildlog") {
		t.Errorf("the cache is listed: %s", body)
	}
}

func TestAnUnreadableFileIsForbidden(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	c := open(t, t.TempDir(), filecache.Options{})
	put(t, c, "file", nil)
	if err := os.Chmod(filepath.Join(c.Dir(), "file"), 0); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, c.Handler(), "GET", "/filecache/file"); r.StatusCode != 403 {
		t.Errorf("status %d", r.StatusCode)
	}
}

// growing appends to the log when its headers are sent.
type growing struct {
	*httptest.ResponseRecorder
	log *os.File
}

func (g growing) WriteHeader(status int) {
	_, _ = g.log.WriteString("more")
	g.ResponseRecorder.WriteHeader(status)
}

func TestAGrowingLogEndsWhereItWas(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	put(t, c, "buildlog", []byte("start "))
	log, err := os.OpenFile(filepath.Join(c.Dir(), "buildlog"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	w := growing{httptest.NewRecorder(), log}
	c.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/filecache/buildlog", nil))
	if got := w.Body.String(); got != "start " || w.Header().Get("Content-Length") != "6" {
		t.Errorf("got %q with the length %s", got, w.Header().Get("Content-Length"))
	}
}

// The law: a path gives an entry or the log, or nothing; never anything else.
func FuzzServedPath(f *testing.F) {
	const inside, outside = "content of an entry", "private content"
	c := open(f, f.TempDir(), filecache.Options{})
	put(f, c, "entry", []byte(inside))
	put(f, c, "buildlog", []byte(inside))
	for _, name := range []string{"../outside", ".lpbuildd/private", ".lpbuildd/tmp/t", "x.tmp", "buildlog.unsanitized"} {
		put(f, c, name, []byte(outside))
	}
	for _, s := range []string{"entry", "..%2foutside", "../outside", ".lpbuildd/private", "x.tmp", "%2e%2e/outside", "buildlog", "a%00", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		r := ask(t, c.Handler(), "GET", "/filecache/"+segment)
		body := bodyOf(t, r)
		if strings.Contains(body, outside) {
			t.Fatalf("%q leaks", segment)
		}
		if r.StatusCode != 200 && r.StatusCode != 404 {
			t.Fatalf("%q: status %d", segment, r.StatusCode)
		}
	})
}
