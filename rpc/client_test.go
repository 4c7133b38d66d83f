package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc"
	"lpbuildd/rpc/xmlrpc"
)

func TestNewRefusesURLs(t *testing.T) {
	for _, url := range []string{"", "host:8221", "ftp://host/", "http://", "http://[", "/rpc"} {
		if _, err := rpc.New(url); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
	if _, err := rpc.New("gopher://user:secret@host/"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestClientURLs(t *testing.T) {
	base := serve(t, handler(idle())).URL
	for _, suffix := range []string{"", "/", "/rpc", "/rpc/"} {
		client, err := rpc.New(base + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Info(t.Context()); err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
		client.Close()
	}
}

func TestClientEcho(t *testing.T) {
	client := connect(t, handler(idle()))
	params := []any{
		nil, true, int64(-7), 2.0, "a \r\n<&>",
		[]byte{0, 255},
		xmlrpc.DateTime("20200102T03:04:05"),
		[]any{},
		ordered.Struct{{Name: "<k>", Value: nil}, {Name: "", Value: []any{"x"}}},
	}
	got, err := client.Echo(t.Context(), params...)
	if err != nil || !reflect.DeepEqual(got, params) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestClientReports(t *testing.T) {
	want := buildd.Status{
		State: buildd.Waiting, Version: "254", BuildID: "X-1", Outcome: "OK",
		FileMap: map[string]string{"a": "b"}, Extra: map[string]any{"revision_id": "r"},
	}
	yes, endpoint := true, "http://proxy.test/1"
	b := &builder{status: want, proxy: &buildd.ProxyInfo{UseFetchService: &yes, RevocationEndpoint: &endpoint}}
	client := connect(t, handler(b))
	if got, err := client.Status(t.Context()); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	b.setStatus(buildd.Status{State: buildd.Building, BuildID: "X-1", LogTail: []byte("a\xff")})
	if got, err := client.Status(t.Context()); err != nil || !reflect.DeepEqual(got, b.status) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := client.Info(t.Context()); err != nil || !reflect.DeepEqual(got, b.Info()) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := client.ProxyInfo(t.Context()); err != nil || !reflect.DeepEqual(got, *b.proxy) {
		t.Errorf("got %+v, %v", got, err)
	}
	b.proxy = &buildd.ProxyInfo{}
	if got, err := client.ProxyInfo(t.Context()); err != nil || got != (buildd.ProxyInfo{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestClientEnsurePresent(t *testing.T) {
	b := idle()
	b.presence = buildd.Presence{Present: true, Info: "Cache"}
	client := connect(t, handler(b))
	url := "http://x/"
	for _, src := range []buildd.Source{{}, {URL: &url, Username: "u", Password: "p"}} {
		got, err := client.EnsurePresent(t.Context(), "abc", src)
		if err != nil || got != b.presence {
			t.Errorf("got %v, %v", got, err)
		}
		if b.ensured.sum != "abc" || !reflect.DeepEqual(b.ensured.src, src) {
			t.Errorf("the builder got %+v", b.ensured)
		}
	}
}

func TestClientBuild(t *testing.T) {
	b := idle()
	b.cache = map[string]bool{"image": true, "s1": true}
	client := connect(t, handler(b))
	request := buildd.Request{
		BuildID: "X-1", Tag: "binarypackage", Image: "image", Files: ordered.Map[string]{{Name: "a.dsc", Value: "s1"}},
		Args: map[string]any{"series": "bookworm", "keys": []any{"k"}, "n": nil, "big": int64(1) << 40},
	}
	if err := client.Build(t.Context(), request); err != nil || !reflect.DeepEqual(b.request, request) {
		t.Errorf("%v; the builder got %+v", err, b.request)
	}
	missing := request
	missing.Files = ordered.Map[string]{{Name: "a.dsc", Value: "s1"}, {Name: "b.tar", Value: "s2"}}
	var badSum *buildd.UnknownSumError
	if err := client.Build(t.Context(), missing); !errors.As(err, &badSum) || *badSum != (buildd.UnknownSumError{Name: "b.tar", Sum: "s2"}) {
		t.Errorf("got %v", err)
	}
	missing.Image = "other"
	if err := client.Build(t.Context(), missing); !errors.As(err, &badSum) || *badSum != (buildd.UnknownSumError{Sum: "other"}) {
		t.Errorf("got %v", err)
	}
	var badType *buildd.UnknownTypeError
	err := client.Build(t.Context(), buildd.Request{BuildID: "X", Tag: "nosuch"})
	if !errors.As(err, &badType) || badType.Tag != "nosuch" || !reflect.DeepEqual(badType.Known, b.Info().Tags) {
		t.Errorf("got %#v", err)
	}
}

func TestClientFaults(t *testing.T) {
	client := connect(t, handler(idle()))
	err := client.Clean(t.Context())
	var fault *rpc.Fault
	want := rpc.Fault{Code: 8002, String: "error", Reason: "clean() needs a builder that is WAITING, this one is IDLE: there is no build"}
	if !errors.As(err, &fault) || *fault != want {
		t.Errorf("got %#v", err)
	}
	if got := err.Error(); got != "fault 8002: clean() needs a builder that is WAITING, this one is IDLE: there is no build" {
		t.Errorf("got %q", got)
	}
	if err := client.Abort(t.Context()); !errors.As(err, &fault) {
		t.Errorf("got %v", err)
	}
}

func TestClientUnderstandsThatABuilderTakesNoBuilds(t *testing.T) {
	for _, why := range []string{buildd.DrainedText + "; because", buildd.BrokenText + ": read-only file system"} {
		st := buildd.Status{State: buildd.Idle, Drained: why}
		client := connect(t, handler(&builder{status: st}))
		if got, err := client.Status(t.Context()); err != nil || !reflect.DeepEqual(got, st) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestClientTransportErrors(t *testing.T) {
	client := connect(t, http.NotFoundHandler())
	if _, err := client.Status(t.Context()); err == nil || err.Error() != "cannot call status: the builder answered 404 Not Found" {
		t.Errorf("got %v", err)
	}
	odd := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<methodResponse><params><param><value>odd</value></param></params></methodResponse>"))
	}))
	if _, err := odd.Status(t.Context()); err == nil || err.Error() != "cannot understand the reply to status: odd" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	if err := odd.Clean(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// fileServer serves one growing file as /filecache/buildlog.
type fileServer struct {
	mu   sync.Mutex
	data []byte // nil: no such file
}

func (f *fileServer) append(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.data = append(f.data, text...)
}

func (f *fileServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	data := bytes.Clone(f.data)
	f.mu.Unlock()
	if data == nil || r.URL.Path != "/filecache/buildlog" {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "buildlog", time.Time{}, bytes.NewReader(data))
}

func withFiles(b *builder, files http.Handler) http.Handler {
	return rpc.NewServer(b, b, files, slog.New(slog.DiscardHandler))
}

func TestOpenFile(t *testing.T) {
	client := connect(t, withFiles(idle(), &fileServer{data: []byte("0123456789")}))
	for _, test := range []struct {
		name   string
		offset int64
		want   string
	}{
		{"the whole file", 0, "0123456789"},
		{"the rest", 7, "789"},
		{"nothing more", 10, ""},
		{"behind the end", 99, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := client.OpenFile(t.Context(), rpc.BuildLog, test.offset)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(file)
			if err != nil || string(got) != test.want || file.Size != 10 {
				t.Errorf("got %q of %d, %v", got, file.Size, err)
			}
			if err := file.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := client.OpenFile(t.Context(), "../nosuch", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOpenFileOfAServerWithoutRanges(t *testing.T) {
	client := connect(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("0123456789"))
	}))
	file, err := client.OpenFile(t.Context(), "x", 4)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(file)
	if err != nil || string(got) != "456789" {
		t.Errorf("got %q, %v", got, err)
	}
	_ = file.Close()
}

func TestFollowLog(t *testing.T) {
	log := &fileServer{}
	b := &builder{status: buildd.Status{State: buildd.Building, BuildID: "X-1"}}
	client := connect(t, withFiles(b, log), rpc.WithPoll(time.Millisecond))
	var out bytes.Buffer
	polls := 0
	st, err := client.FollowLog(t.Context(), &out, func(buildd.Status) {
		switch polls++; polls {
		case 3:
			log.append("one\n")
		case 6:
			log.append("two\n")
		case 8:
			log.append("three\n")
			b.setStatus(buildd.Status{State: buildd.Waiting, BuildID: "X-1", Outcome: "OK"})
		}
	})
	if err != nil || st.Outcome != "OK" || out.String() != "one\ntwo\nthree\n" {
		t.Errorf("got %+v, %q, %v", st, out.String(), err)
	}
}

func TestFollowLogBearsARestart(t *testing.T) {
	log := &fileServer{data: []byte("all\n")}
	b := &builder{status: buildd.Status{State: buildd.Waiting, BuildID: "X-1", Outcome: "OK"}}
	h := withFiles(b, log)
	var asked atomic.Int32 // each connection has a goroutine of its own
	flaky := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 4 {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	})
	client := connect(t, flaky, rpc.WithPoll(time.Millisecond))
	var out bytes.Buffer
	if _, err := client.FollowLog(t.Context(), &out, nil); err != nil || out.String() != "all\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestFollowLogGivesUp(t *testing.T) {
	building := func() *builder { return &builder{status: buildd.Status{State: buildd.Building, BuildID: "X-1"}} }
	t.Run("when there is another build", func(t *testing.T) {
		b := building()
		client := connect(t, withFiles(b, &fileServer{}), rpc.WithPoll(time.Millisecond))
		_, err := client.FollowLog(t.Context(), io.Discard, func(buildd.Status) {
			b.setStatus(buildd.Status{State: buildd.Building, BuildID: "X-2"})
		})
		if err == nil || err.Error() != "the builder is at X-2, no longer at X-1" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when the build is lost", func(t *testing.T) {
		b := building()
		client := connect(t, withFiles(b, &fileServer{}), rpc.WithPoll(time.Millisecond))
		_, err := client.FollowLog(t.Context(), io.Discard, func(buildd.Status) {
			b.setStatus(buildd.Status{State: buildd.Idle})
		})
		if err == nil || err.Error() != "the builder has lost build X-1" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when its context ends", func(t *testing.T) {
		client := connect(t, withFiles(building(), &fileServer{}), rpc.WithPoll(time.Millisecond))
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := client.FollowLog(ctx, io.Discard, func(buildd.Status) { cancel(enough) })
		if !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("when nobody answers", func(t *testing.T) {
		client := connect(t, http.NotFoundHandler(), rpc.WithPoll(time.Millisecond), rpc.WithPatience(0))
		if _, err := client.FollowLog(t.Context(), io.Discard, nil); err == nil {
			t.Error("no error")
		}
	})
	t.Run("when the log cannot be written", func(t *testing.T) {
		client := connect(t, withFiles(building(), &fileServer{data: []byte("x")}), rpc.WithPoll(time.Millisecond))
		reader, writer := io.Pipe()
		_ = reader.Close()
		if _, err := client.FollowLog(t.Context(), writer, nil); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v", err)
		}
	})
}
