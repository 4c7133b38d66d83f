package rpc_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/xmlrpc"
)

// different lists the recordings that we answer differently on purpose.
func different() map[string]string {
	return map[string]string{
		"echo-value.two-in-one":      "one <value> is one value; the reference makes two parameters of it",
		"echo-value.entity":          "document types are refused, because of entity bombs",
		"echo-value.external-entity": "document types are refused, because of entity bombs",
		"echo-value.bigdecimal":      "unknown on input already; the reference cannot send it back either",
		"echo-value.string-charrefs": "the reference sends a carriage return as it is, so that it arrives as a line feed",
		"unknown.introspection":      "we have system.listMethods",
		"broken.method-response":     "a fault instead of HTTP 500",
		"broken.empty-method-name":   "a fault instead of HTTP 500",
		"broken.no-method-name":      "a fault instead of HTTP 500",
	}
}

// recordedBuilders puts a builder into the state of a recording. The others
// were made while IDLE.
func recordedBuilders() map[string]*fake.Builder {
	const log = "https://launchpad.test/~owner/+build/1\n"
	in := fake.New
	no, endpoint := false, "http://proxy.test/tokens/1"
	return map[string]*fake.Builder{
		"ensure.cache":      {Presence: buildd.Presence{Present: true, Info: "Cache"}},
		"ensure.mismatch":   {Presence: buildd.Presence{Info: "Digests did not match, removing again!"}},
		"ensure.no-url":     {Presence: buildd.Presence{Info: "No URL"}},
		"ensure.own-reason": {Presence: buildd.Presence{Info: "Error accessing Librarian: HTTP Error 404: Gone Fishing"}},
		"ensure.refused":    {Presence: buildd.Presence{Info: "Error accessing Librarian: <urlopen error [Errno 111] Connection refused>"}},

		"corrupt-image.status-at-once": in(buildd.Status{State: buildd.Building, BuildID: "PACKAGEBUILD-90001", LogTail: []byte(log)}),
		"corrupt-image.status":         in(buildd.Status{State: buildd.Waiting, BuildID: "PACKAGEBUILD-90001", Outcome: "CHROOTFAIL"}),
		"corrupt-image.abort":          in(buildd.Status{State: buildd.Waiting}),
		"corrupt-image.clean":          in(buildd.Status{State: buildd.Waiting}),
		"abort.clean-building":         in(buildd.Status{State: buildd.Building}),
		"abort.abort":                  in(buildd.Status{State: buildd.Building}),
		"abort.status-aborting":        in(buildd.Status{State: buildd.Aborting, BuildID: "PACKAGEBUILD-90003"}),
		"abort.abort-again":            in(buildd.Status{State: buildd.Aborting}),
		"abort.clean-aborting":         in(buildd.Status{State: buildd.Aborting}),
		"abort.status-aborted":         in(buildd.Status{State: buildd.Waiting, BuildID: "PACKAGEBUILD-90003", Outcome: "ABORTED"}),
		"busy.build":                   in(buildd.Status{State: buildd.Building}),
		"busy.status-afterwards":       in(buildd.Status{State: buildd.Building, BuildID: "PACKAGEBUILD-90004", LogTail: []byte{}}),
		"hello.status": in(buildd.Status{State: buildd.Waiting, BuildID: "PACKAGEBUILD-90010", Outcome: "OK", FileMap: map[string]string{
			"hello_2.10-3_amd64.buildinfo": "", "hello_2.10-3_amd64.changes": "", "hello_2.10-3_amd64.deb": "",
		}}),
		"depfail.status":         in(buildd.Status{State: buildd.Waiting, BuildID: "PACKAGEBUILD-90012", Outcome: "DEPFAIL", Dependencies: "lpconf-dep (>= 99), lpconf-absent"}),
		"proxied.proxy_info":     {Proxy: &buildd.ProxyInfo{UseFetchService: &no, RevocationEndpoint: &endpoint}},
		"proxied.proxy_info-nil": {Proxy: &buildd.ProxyInfo{}},
	}
}

// cachedSums are the files that the recorded builds found.
func cachedSums() map[string]bool {
	return map[string]bool{
		"ff967be1fd16ea76c7096c9b041ad61490bd0f25": true,
		"07fb24c62b8df58778175c4e80c8484173be8693": true,
	}
}

func TestRecordedCalls(t *testing.T) {
	requests, err := filepath.Glob("testdata/wire/*.request.xml")
	if err != nil || len(requests) < 90 {
		t.Fatalf("found %d recordings: %v", len(requests), err)
	}
	builders, skip := recordedBuilders(), different()
	for _, path := range requests {
		path, _ = strings.CutSuffix(path, ".request.xml")
		id := filepath.Base(path)
		t.Run(id, func(t *testing.T) {
			if reason, ok := skip[id]; ok {
				t.Skip("intended difference:", reason)
			}
			b := builders[id]
			if b == nil {
				b = fake.Idle()
			}
			b.Cache = cachedSums()
			if id == "hello.build" {
				b.Cache = recordedSums(t, path)
			}
			got, gotErr := xmlrpc.DecodeResponse(post(t, handler(b), read(t, path+".request.xml")).Body.Bytes())
			want, wantErr := xmlrpc.DecodeResponse(read(t, path+".response.xml"))
			compareFaults(t, id, gotErr, wantErr)
			if wantErr == nil {
				compareDocuments(t, blank(got), blank(want))
			}
		})
	}
}

// compareDocuments compares encoded values, because a NaN is not equal to
// itself.
func compareDocuments(t *testing.T, got, want any) {
	t.Helper()
	g, err := xmlrpc.AppendCall(nil, "x", []any{got})
	w, err2 := xmlrpc.AppendCall(nil, "x", []any{want})
	if err != nil || err2 != nil || !bytes.Equal(g, w) {
		t.Errorf("got %s\nwant %s (%v, %v)", g, w, err, err2)
	}
}

// blank takes checksums out of a file map and all but the first line out of a
// log, which our builder does not repeat.
func blank(value any) any {
	members, ok := value.(ordered.Struct)
	if !ok {
		return value
	}
	sorted := members.Plain() // their order means nothing in answers
	if files, ok := sorted["filemap"].(ordered.Struct); ok {
		for i := range files {
			files[i].Value = ""
		}
		sorted["filemap"] = files.Plain()
	}
	if log, ok := sorted["logtail"].([]byte); ok {
		sorted["logtail"] = log[:bytes.IndexByte(log, '\n')+1]
	}
	return sorted
}

// recordedSums are all checksums of a recorded build call.
func recordedSums(t *testing.T, path string) map[string]bool {
	t.Helper()
	call, err := xmlrpc.DecodeCall(read(t, path+".request.xml"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]bool{call.Params[2].(string): true}
	for _, file := range call.Params[3].(ordered.Struct) {
		sums[file.Value.(string)] = true
	}
	return sums
}

// compareFaults wants the same code, and the same text except where ours says
// more: behind "Can't deserialize input: ", and instead of most "error".
func compareFaults(t *testing.T, id string, got, want error) {
	t.Helper()
	var g, w *xmlrpc.FaultError
	isFault, wantFault := errors.As(got, &g), errors.As(want, &w)
	if isFault != wantFault {
		t.Fatalf("got %v, want %v", got, want)
	}
	if !wantFault {
		return
	}
	if g.Code != w.Code {
		t.Errorf("got code %d, want %d", g.Code, w.Code)
	}
	group, name, _ := strings.Cut(id, ".")
	pinned := w.String != "error" || group == "count" || strings.HasPrefix(name, "abort") || strings.HasPrefix(name, "clean")
	wantText := w.String
	gotText := g.String
	if prefix := "Can't deserialize input: "; strings.HasPrefix(wantText, prefix) && strings.HasPrefix(gotText, prefix) {
		wantText, gotText = prefix, prefix
	}
	if pinned && gotText != wantText {
		t.Errorf("got %q, want %q", gotText, wantText)
	}
	if !pinned && !strings.Contains(gotText, ": ") && !strings.HasPrefix(gotText, "cannot ") {
		t.Errorf("%q does not say what was wrong", gotText)
	}
}

func TestRecordedBuildReachesTheController(t *testing.T) {
	const path = "testdata/wire/hello.build"
	b := fake.Idle()
	b.Cache = recordedSums(t, path)
	post(t, handler(b), read(t, path+".request.xml"))
	want := []string{"hello_2.10-3.debian.tar.xz", "hello_2.10-3.dsc", "hello_2.10.orig.tar.gz", "hello_2.10.orig.tar.gz.asc"}
	if got := b.Request.Files.Names(); !slices.Equal(got, want) {
		t.Errorf("the files are %q, want %q", got, want)
	}
	if b.Request.BuildID != "PACKAGEBUILD-90010" || b.Request.Tag != "binarypackage" ||
		b.Request.Args["series"] != "bookworm" || b.Request.Args["archive_private"] != false {
		t.Errorf("got %+v", b.Request)
	}
	if reflect.TypeOf(b.Request.Args["archives"]) != reflect.TypeFor[[]any]() {
		t.Errorf("archives is %T", b.Request.Args["archives"])
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// post sends a document to /rpc without a network.
func post(t testing.TB, h http.Handler, doc []byte) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", bytes.NewReader(doc)))
	if w.Code != http.StatusOK {
		t.Errorf("HTTP status %d", w.Code)
	}
	return w
}
