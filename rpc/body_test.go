package rpc_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/fake"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

func compressed(t *testing.T, doc []byte, to func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var out bytes.Buffer
	w := to(&out)
	if _, err := w.Write(doc); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func toGzip(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
func toZlib(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) }

func TestContentEncodings(t *testing.T) {
	doc := encode(t, "echo", "hello")
	large := encode(t, "echo", strings.Repeat("0123456789abcdef", 1<<16))
	bomb := compressed(t, encode(t, "echo", strings.Repeat(" ", 4*wire.MaxBody)), toGzip)
	zipped := compressed(t, doc, toGzip)
	for _, test := range []struct {
		name, encoding string
		body           []byte
		want           string // in the reply
	}{
		{"none", "", doc, "<string>hello</string>"},
		{"identity", "identity", doc, "<string>hello</string>"},
		{"gzip", "gzip", zipped, "<string>hello</string>"},
		{"gzip in capitals", " GZIP ", zipped, "<string>hello</string>"},
		{"x-gzip", "x-gzip", zipped, "<string>hello</string>"},
		{"deflate", "deflate", compressed(t, doc, toZlib), "<string>hello</string>"},
		{"a large one", "gzip", compressed(t, large, toGzip), "0123456789abcdef</string>"},
		{"a bomb", "gzip", bomb, "cannot read the request body: it is larger than 33554432 bytes"},
		{"one that is cut off", "gzip", zipped[:len(zipped)-10], "cannot read the request body: unexpected EOF"},
		{"one that is damaged", "gzip", append(bytes.Clone(zipped[:len(zipped)-8]), "damaged!"...), "cannot read the request body: gzip: invalid checksum"},
		{"one that is none", "gzip", doc, "cannot read the request body: gzip: invalid header"},
		{"unknown", "br", doc, `the Content-Encoding "br" is not supported: use gzip, deflate or none`},
		{"twice", "gzip, gzip", doc, `the Content-Encoding "gzip, gzip" is not supported`},
		{"gzip without a word", "", zipped, "Can't deserialize input: not XML"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", bytes.NewReader(test.body))
			if test.encoding != "" {
				r.Header.Set("Content-Encoding", test.encoding)
			}
			w := httptest.NewRecorder()
			handler(fake.Idle()).ServeHTTP(w, r)
			if got := w.Body.String(); w.Code != http.StatusOK || !strings.Contains(got, test.want) {
				t.Errorf("%d: got %.500s, want %s", w.Code, got, test.want)
			}
		})
	}
}

// patientBuilder fetches files until it is told to stop.
type patientBuilder struct {
	*fake.Builder
	stop chan struct{}
}

func (b *patientBuilder) EnsurePresent(context.Context, string, buildd.Source) (buildd.Presence, error) {
	<-b.stop
	return buildd.Presence{}, nil
}

// TestPaddedCallsGiveTheirMemoryBack: what was only read and thrown away must not
// keep other large calls out while a download goes on.
func TestPaddedCallsGiveTheirMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &patientBuilder{fake.Idle(), make(chan struct{})}
		h := rpc.NewServer(b, b, noFiles(), slog.New(slog.DiscardHandler))
		padded := append(encode(t, "ensurepresent", "sum", "http://h/", "", ""), strings.Repeat(" ", wire.MaxBody/2)...)
		for range 10 {
			go post(t, h, padded)
		}
		synctest.Wait()
		large := encode(t, "echo", strings.Repeat("x", wire.MaxBody/2))
		if w := post(t, h, large); !strings.Contains(w.Body.String(), "xxx</string>") {
			t.Errorf("a large call meanwhile: %.300s", w.Body)
		}
		close(b.stop)
		synctest.Wait()
	})
}

// TestATooLongCallKeepsNobodyOut: who sends on and on holds no memory while the rest
// of that is thrown away, nor when it has ended.
func TestATooLongCallKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(fake.Idle())
		large := encode(t, "echo", strings.Repeat("x", wire.MaxBody/2))
		wantEcho := func(when string) {
			if w := post(t, h, large); !strings.Contains(w.Body.String(), "xxx</string>") {
				t.Errorf("a large call %s: %.300s", when, w.Body)
			}
		}
		for _, length := range []int64{-1, 1 << 40} {
			start := time.Now()
			begun, on := io.Pipe()
			go func() {
				_, _ = on.Write(bytes.Repeat([]byte(" "), wire.MaxBody+1))
				wantEcho("meanwhile") // the next write would have to be read
				if took := time.Since(start); took > 0 {
					t.Errorf("it had to wait for %v", took)
				}
				_ = on.Close()
			}()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", begun)
			r.ContentLength = length
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if !strings.Contains(w.Body.String(), "it is larger than 33554432 bytes") {
				t.Errorf("got %.300s", w.Body)
			}
			if w.Header().Get("Connection") != "close" {
				t.Error("the rest could be taken for another request")
			}
			wantEcho("afterwards")
		}
	})
}

func TestALargeCallWaitsForOthersNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := handler(fake.Idle())
		on := make(chan struct{})
		doc := encode(t, "echo", strings.Repeat("0123456789abcdef", 3<<14))
		go func() {
			body := &stalled{Reader: bytes.NewReader(doc), beyond: new(atomic.Int32), on: on}
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/rpc", body))
		}()
		synctest.Wait()
		start := time.Now()
		if w := post(t, h, doc); !strings.Contains(w.Body.String(), "other large calls are being read, try again") || time.Since(start) != 2*time.Minute {
			t.Errorf("after %s: %.300s", time.Since(start), w.Body)
		}
		close(on)
		synctest.Wait()
	})
}

func TestOverlongAddressesAreRefused(t *testing.T) {
	fault, _ := faultOf(t, handler(fake.Idle()), encode(t, "ensurepresent", "sum", "http://h/"+strings.Repeat("x", 20<<20), "", ""))
	if want := "ensurepresent: sha1, url, username and password: expected at most 65536 bytes together, got 209"; !strings.HasPrefix(fault.String, want) {
		t.Errorf("got %.300s", fault.String)
	}
}

// TestMemoryOfLargeCalls: what is held of a call while it is decoded is within the
// measure by which memory is shared (memoryPerByte).
func TestMemoryOfLargeCalls(t *testing.T) {
	const size, perByte = 8 << 20, 6
	fill := func(piece string) []byte {
		n := min(size/len(piece), xmlrpc.MaxElements/strings.Count(piece, "<")*9/10)
		return []byte(callText("<array><data>" + strings.Repeat(piece, n) + "</data></array>"))
	}
	for name, doc := range map[string][]byte{
		"one text":      []byte(callText(strings.Repeat("x", size))),
		"empty values":  fill("<value/>"),
		"empty structs": fill("<value><struct/></value>"),
		"empty arrays":  fill("<value><array/></value>"),
		"short texts":   fill("<value>a</value>"),
		"numbers":       fill("<value><i1>7</i1></value>"),
		"members":       fill("<value><struct><member><name/><value/></member></struct></value>"),
		"references":    []byte(callText(strings.Repeat("&#9;", size/4))),
		"windows-1252":  append([]byte("<?xml version='1.0' encoding='windows-1252'?>"), callText(strings.Repeat("\x80", size))...),
	} {
		held := heap()
		call, err := xmlrpc.DecodeCall(doc)
		held = heap() - held
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The document itself is counted before, the reply of echo may be as large.
		factor := 1 + float64(held)/float64(len(doc))
		t.Logf("%s: %.1f bytes per byte of %d", name, factor, len(doc))
		if factor > perByte-1 {
			t.Errorf("%s: %.1f bytes per byte", name, factor)
		}
		runtime.KeepAlive(call)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
