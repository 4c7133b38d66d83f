package filecache

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

func openInternal(t *testing.T, o Options) *Cache {
	t.Helper()
	c, err := Open(t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	c.downloader.backoff = []time.Duration{0, 0, 0}
	t.Cleanup(func() {
		left, err := os.ReadDir(filepath.Join(c.StateDir(), "tmp"))
		if err != nil || len(left) > 0 {
			t.Errorf("temporaries were left: %v, %v", left, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func digest(data []byte) string {
	s := sha1.Sum(data)
	return hex.EncodeToString(s[:])
}

// flaky serves data, but hangs up after some bytes of each answer.
type flaky struct {
	data      []byte
	keep      int    // bytes of each answer that arrive
	validator string // Etag or Last-Modified line, or ""
	resumes   bool
	reset     bool // ends with a reset, not with an orderly close
	chunked   bool
	stall     bool // goes silent instead of hanging up
	second    int  // status of the second answer, 0 for a normal one
	hits      atomic.Int32
	ranges    []string
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	hit := f.hits.Add(1)
	f.ranges = append(f.ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
	if hit == 2 && f.second != 0 {
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 %d Other\r\nContent-Length: 0\r\n\r\n", f.second)
		return
	}
	from, status := 0, "200 OK"
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); n == 1 && f.resumes {
		status = fmt.Sprintf("206 Partial Content\r\nContent-Range: bytes %d-%d/%d", from, len(f.data)-1, len(f.data))
	} else {
		from = 0
	}
	body := f.data[from:]
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	if f.chunked {
		length = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x", len(body))
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 %s\r\n%s%s\r\n", status, f.validator, length)
	_, _ = conn.Write(body[:min(f.keep, len(body))])
	if f.chunked && f.keep >= len(body) {
		_, _ = conn.Write([]byte("\r\n0\r\n\r\n"))
	}
	f.end(conn)
}

func (f *flaky) end(conn net.Conn) {
	if f.stall {
		_, _ = conn.Read(make([]byte, 1))
	}
	if f.reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
}

func TestBrokenDownloads(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	size := len(data)
	half := size/2 + 1
	const tag = "ETag: \"v1\"\r\n"
	cases := []struct {
		name    string
		server  flaky
		present bool
		info    string
		hits    int32
		second  string // Range and If-Range of the second request
	}{
		{
			"it goes on where it stopped",
			flaky{keep: half, resumes: true, validator: tag},
			true, infoDownload, 2, fmt.Sprintf(`bytes=%d- "v1"`, half),
		},
		{
			"a date is a validator",
			flaky{keep: half, resumes: true, validator: "Last-Modified: Sun, 22 Nov 2026 02:32:31 GMT\r\n"},
			true, infoDownload, 2, fmt.Sprintf(`bytes=%d- Sun, 22 Nov 2026 02:32:31 GMT`, half),
		},
		{
			"a weak tag is none, the digest decides",
			flaky{keep: half, resumes: true, validator: "ETag: W/\"v1\"\r\n"},
			true, infoDownload, 2, fmt.Sprintf(`bytes=%d- `, half),
		},
		{"after a reset", flaky{keep: half, resumes: true, reset: true}, true, infoDownload, -2, ""},
		{"in the middle of a chunk", flaky{keep: half, resumes: true, chunked: true}, true, infoDownload, 2, ""},
		{"over several breaks", flaky{keep: size/4 + 1, resumes: true}, true, infoDownload, 4, ""},
		{"after too many breaks", flaky{keep: size / 8, resumes: true}, false, infoMismatch, 4, ""},
		{"a server that cannot resume", flaky{keep: half}, false, infoMismatch, 4, ""},
		{"chunks from a server that cannot resume", flaky{keep: half, chunked: true}, false, infoFailed + fmt.Sprintf("IncompleteRead(%d bytes read)", half), 4, ""},
		{"a server that is away for a moment", flaky{keep: half, resumes: true, second: 503}, true, infoDownload, 3, ""},
		{"a server that lost the range", flaky{keep: half, resumes: true, second: 416}, true, infoDownload, 4, ""},
		{"a server that lost the file", flaky{keep: half, resumes: true, second: 404}, false, infoFailed + "HTTP Error 404: Other", 2, ""},
	}
	for i := range cases {
		tc := &cases[i]
		t.Run(tc.name, func(t *testing.T) {
			tc.server.data = data
			s := httptest.NewServer(&tc.server)
			defer s.Close()
			c := openInternal(t, Options{})
			p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
			if err != nil || p.Present != tc.present || p.Info != tc.info {
				t.Errorf("got %v, %v", p, err)
			}
			// A reset may lose bytes that were on their way.
			if hits := tc.server.hits.Load(); hits != tc.hits && hits < -tc.hits || tc.hits > 0 && hits != tc.hits {
				t.Errorf("%d requests, want %d: %q", hits, tc.hits, tc.server.ranges)
			}
			if tc.second != "" && tc.server.ranges[1] != tc.second {
				t.Errorf("the second request has %q, want %q", tc.server.ranges[1], tc.second)
			}
			if there, _ := c.Present(t.Context(), digest(data)); there != tc.present {
				t.Errorf("present afterwards: %v", there)
			}
		})
	}
}

// The server replaces the file after the connection broke, and gives nothing to
// tell it by.
func TestAResumedMixtureIsFetchedAgain(t *testing.T) {
	data := bytes.Repeat([]byte("new"), 1000)
	var hits atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hits.Add(1) == 1 {
			w.Header().Set("Content-Length", "3000")
			_, _ = w.Write(bytes.Repeat([]byte("old"), 500))
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer s.Close()
	c := openInternal(t, Options{})
	p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
	if err != nil || p.Info != infoDownload || hits.Load() != 3 {
		t.Errorf("got %v, %v after %d requests", p, err, hits.Load())
	}
}

// inMemory is a client of a server in the same synctest bubble, in which only pipes
// can be waited for.
func inMemory(t *testing.T, h http.Handler) *http.Client {
	t.Helper()
	listener := pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan error)
	go func() { done <- server.Serve(listener) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, remote := net.Pipe()
		listener.conns <- remote
		return client, nil
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	return &http.Client{Transport: transport}
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// Accept implements net.Listener.
func (p pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p pipes) Close() error { close(p.closed); return nil }

// Addr implements net.Listener.
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func TestSilentServersEnd(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, handler := range map[string]http.Handler{
		"before the answer":         http.HandlerFunc(silent),
		"in the middle of the body": &flaky{data: make([]byte, 1000), keep: 100, resumes: true, stall: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := openInternal(t, Options{IdleTimeout: 30 * time.Second, Client: inMemory(t, handler)})
				url := "http://server.example/"
				p, err := c.Ensure(t.Context(), digest([]byte("x")), Source{URL: &url})
				if err != nil || p.Present || p.Info != infoFailed+"<urlopen error timed out (no data for 30s)>" {
					t.Errorf("got %v, %v", p, err)
				}
			})
			if stalling, ok := handler.(*flaky); ok && stalling.hits.Load() != 3 {
				t.Errorf("a stalling server was asked %d times, want 3", stalling.hits.Load())
			}
		})
	}
}

func TestASlowServerIsNotIdle(t *testing.T) {
	data := bytes.Repeat([]byte("slow"), 24)
	synctest.Test(t, func(t *testing.T) {
		slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := range len(data) / 4 {
				<-time.After(29 * time.Second)
				_, _ = w.Write(data[4*i : 4*i+4])
				w.(http.Flusher).Flush()
			}
		})
		c := openInternal(t, Options{IdleTimeout: 30 * time.Second, Client: inMemory(t, slow)})
		url := "http://server.example/"
		p, err := c.Ensure(t.Context(), digest(data), Source{URL: &url})
		if err != nil || !p.Present {
			t.Errorf("got %v, %v", p, err)
		}
	})
}

// limit pretends that the file system has so many bytes and inodes.
func limit(c *Cache, total disk.Room) {
	c.evictor.space = func(string) (disk.Space, error) {
		s := disk.Space{Free: total, Total: total}
		entries, err := c.Entries()
		for _, e := range entries {
			s.Free = s.Free.Minus(e.room())
		}
		return s, err
	}
}

// bytesFree is the space of a file system that does not count inodes.
func bytesFree(n int64) disk.Space {
	return disk.Space{Free: disk.Room{Bytes: n, Inodes: disk.Uncounted}, Total: disk.Room{Bytes: 1 << 40, Inodes: disk.Uncounted}}
}

func fill(t *testing.T, c *Cache, content string, size int, age time.Duration) string {
	t.Helper()
	s, err := c.Store(t.Context(), strings.NewReader(strings.Repeat(content, size)))
	if err != nil {
		t.Fatal(err)
	}
	used := time.Now().Add(-age)
	for _, path := range []string{filepath.Join(c.folder.dir, s.SHA1), filepath.Join(c.folder.dir, metaPath(s.SHA1))} {
		if err := os.Chtimes(path, used, used); err != nil {
			t.Fatal(err)
		}
	}
	return s.SHA1
}

func TestAFullDisk(t *testing.T) {
	const big = 64 << 10
	data := bytes.Repeat([]byte{7}, big)
	for name, length := range map[string]bool{"announced": true, "not announced": false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !length {
				w.(http.Flusher).Flush()
			}
			_, _ = w.Write(data)
		}))
		for scarce, total := range map[string]disk.Room{"bytes": {Bytes: 3 * big, Inodes: 1000}, "inodes": {Bytes: 1 << 30, Inodes: 2 * inodesOfEntry}} {
			t.Run("a download evicts for "+scarce+", "+name, func(t *testing.T) {
				c := openInternal(t, Options{MinFree: 8 << 10})
				limit(c, total)
				old := fill(t, c, "a", big, time.Hour)
				kept := fill(t, c, "b", big, 2*time.Hour)
				c.SetInUse([]string{kept}, time.Time{})
				p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
				if err != nil || !p.Present {
					t.Fatalf("got %v, %v", p, err)
				}
				for name, want := range map[string]bool{old: false, kept: true, digest(data): true} {
					if there, err := c.Present(t.Context(), name); there != want || err != nil {
						t.Errorf("present: %v, %v, want %v", there, err, want)
					}
				}
			})
		}
		t.Run("a download that never fits is refused, "+name, func(t *testing.T) {
			c := openInternal(t, Options{MinFree: 1 << 10})
			old := fill(t, c, "a", 10, time.Hour)
			c.evictor.space = func(string) (disk.Space, error) { return bytesFree(1<<10 + 5), nil }
			p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
			if err != nil || p.Present || !strings.HasPrefix(p.Info, infoFailed+"[Errno 28] No space left on device (") {
				t.Errorf("got %v, %v", p, err)
			}
			if there, err := c.Present(t.Context(), old); !there || err != nil {
				t.Errorf("an entry was evicted in vain: %v, %v", there, err)
			}
		})
		t.Run("a download without an inode is refused, "+name, func(t *testing.T) {
			c := openInternal(t, Options{MinFree: 1 << 10})
			c.evictor.space = func(string) (disk.Space, error) {
				return disk.Space{Free: disk.Room{Bytes: 1 << 40, Inodes: 100}, Total: disk.Room{Bytes: 1 << 11, Inodes: 200}}, nil
			}
			p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
			if want := infoFailed + "[Errno 28] No space left on device (1 inodes needed, 100 to be kept, 100 free"; err != nil || p.Present || !strings.HasPrefix(p.Info, want) {
				t.Errorf("got %v, %v", p, err)
			}
		})
		s.Close()
	}
}

// TestOtherThingsGoBeforeEntries when a download needs room.
func TestOtherThingsGoBeforeEntries(t *testing.T) {
	const big = 64 << 10
	data := bytes.Repeat([]byte{7}, big)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	defer s.Close()
	for _, enough := range []bool{true, false} {
		var free int64
		var asked []int64
		c := openInternal(t, Options{MinFree: 8 << 10, Reclaim: func(_ context.Context, need int64) {
			asked = append(asked, need)
			if enough {
				free += 2 * big
			}
		}})
		old := fill(t, c, "a", 2*big, time.Hour)
		c.evictor.space = func(string) (disk.Space, error) {
			if entries, err := os.ReadDir(c.folder.dir); err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == old }) {
				return bytesFree(free), err
			}
			return bytesFree(free + 2*big), nil
		}
		p, err := c.Ensure(t.Context(), digest(data), Source{URL: &s.URL})
		if err != nil || !p.Present || len(asked) != 1 || asked[0] < big {
			t.Errorf("got %v, %v, asked %v", p, err, asked)
		}
		if there, err := c.Present(t.Context(), old); there != enough || err != nil {
			t.Errorf("present: %v, %v, want %v", there, err, enough)
		}
	}
}

func TestEvictionNeedsNoSpace(t *testing.T) {
	c := openInternal(t, Options{MinFree: 10 << 10})
	old := fill(t, c, "a", 64<<10, time.Hour)
	c.evictor.space = func(string) (disk.Space, error) { return bytesFree(0), nil }
	freed, err := c.Evict(t.Context())
	if err != nil || freed != 64<<10 {
		t.Errorf("freed %d, %v", freed, err)
	}
	if there, _ := c.Present(t.Context(), old); there {
		t.Error("the old entry is still there")
	}
}

// TestEvictionTakesNoMoreThanIsMissing, also where inodes have no end.
func TestEvictionTakesNoMoreThanIsMissing(t *testing.T) {
	const size = 64 << 10
	for _, need := range []int64{0, size} {
		c := openInternal(t, Options{MinFree: size})
		var names []string
		for i := range 6 {
			names = append(names, fill(t, c, string(rune('a'+i)), size, time.Duration(10-i)*time.Hour))
		}
		c.evictor.space = func(string) (disk.Space, error) { return bytesFree(0), nil }
		freed, err := c.evictor.evict(t.Context(), disk.Room{Bytes: need, Inodes: min(need, 1)})
		if want := size + need; err != nil || freed != want {
			t.Errorf("freed %d, %v, want %d", freed, err, want)
		}
		if there, err := c.Present(t.Context(), names[5]); !there || err != nil {
			t.Errorf("the last used entry is present: %v, %v", there, err)
		}
	}
}

// TestManyAreRemovedFromAFullDisk, where nothing can be made to take them away to.
func TestManyAreRemovedFromAFullDisk(t *testing.T) {
	c := openInternal(t, Options{})
	var names []string
	for i := range 2 * fewFiles {
		names = append(names, fill(t, c, fmt.Sprint(i, " "), 10, time.Hour))
	}
	if err := c.store.takeAway(names[0], tmpName+"/none"); err != nil {
		t.Error(err)
	}
	tmp := filepath.Join(c.folder.dir, tmpName)
	if err := errors.Join(os.Remove(tmp), os.WriteFile(tmp, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveAll(names); err != nil {
		t.Error(err)
	}
	if all, err := c.Entries(); err != nil || len(all) > 0 {
		t.Errorf("%d are left, %v", len(all), err)
	}
	if err := errors.Join(os.Remove(tmp), os.Mkdir(tmp, 0o700)); err != nil {
		t.Fatal(err)
	}
}

func TestEvictionEndsWithItsContext(t *testing.T) {
	c := openInternal(t, Options{MaxBytes: 1})
	kept := fill(t, c, "a", 10, time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if _, err := c.Evict(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if there, _ := c.Present(t.Context(), kept); !there {
		t.Error("the entry is gone")
	}
}

func TestTemporariesOfTheLivingStay(t *testing.T) {
	c := openInternal(t, Options{})
	tmp, err := c.temporaries.create()
	if err != nil {
		t.Fatal(err)
	}
	dead, err := c.folder.create(tmpName + "/dead")
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := Open(c.folder.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.CleanTemporaries(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.folder.root.Stat(tmpName + "/dead"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary of a dead process: %v", err)
	}
	if _, err := tmp.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := c.store.commit(t.Context(), tmp, digest([]byte("x")), true); err != nil {
		t.Errorf("the temporary of a living process: %v", err)
	}
	tmp.discard()
}

func TestReasonsOfSystemErrors(t *testing.T) {
	cases := []struct {
		err  error
		text string
	}{
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", unix.EHOSTUNREACH)}, "<urlopen error [Errno 113] No route to host>"},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", unix.ECONNRESET)}, "[Errno 104] Connection reset by peer"},
		{&net.DNSError{IsNotFound: true}, "<urlopen error [Errno -2] Name or service not known>"},
		{&net.DNSError{IsTemporary: true}, "<urlopen error [Errno -3] Temporary failure in name resolution>"},
		{errors.New(`bad proxy "http://user:pw@proxy:1/", sorry`), `bad proxy "...", sorry`},
		{errors.New("see http://user:pw@proxy:1/ there"), "see http://[redacted]@proxy:1/ there"},
		{&net.DNSError{Err: "server misbehaving", Name: "secret"}, "<urlopen error [Errno -3] Temporary failure in name resolution>"},
		{&net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{Port: 12345}, Err: os.ErrDeadlineExceeded}, "<urlopen error timed out>"},
		{textproto.ProtocolError("malformed MIME header line: the body"), "malformed MIME header line"},
		{errors.New("a\u2028b"), "a b"},
		{errors.New("a\x00b\nc\xff"), "a b cÿ"},
		{errors.New(strings.Repeat("x", 2000)), strings.Repeat("x", 200) + "..."},
	}
	for _, tc := range cases {
		if got := reason(tc.err, nil); got != tc.text {
			t.Errorf("got %q, want %q", got, tc.text)
		}
	}
}
