package filecache_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"lpbuildd/filecache"
)

const (
	noSum  = "0000000000000000000000000000000000000000"
	failed = "Error accessing Librarian: "
)

func TestAGoodDownloadIsOneRequest(t *testing.T) {
	data := blob(700_000)
	name := sum(data)
	var hits atomic.Int32
	src := from(serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if auth := r.Header.Get("Authorization"); auth != "" {
			t.Errorf("credentials were sent: %q", auth)
		}
		if enc := r.Header.Get("Accept-Encoding"); enc != "identity" {
			t.Errorf("Accept-Encoding is %q", enc)
		}
		_, _ = w.Write(data)
	}))
	c := open(t, t.TempDir(), filecache.Options{})
	want(t, ensure(t, c, name, filecache.Source{}), false, "No URL")
	want(t, ensure(t, c, name, src), true, "Download")
	want(t, ensure(t, c, name, src), true, "Cache")
	want(t, ensure(t, c, name, from("")), true, "Cache")
	want(t, ensure(t, c, name, filecache.Source{}), true, "No URL")
	if hits.Load() != 1 {
		t.Errorf("%d requests, want 1", hits.Load())
	}
	checkClean(t, c, name)
}

func TestBadNamesAreFaults(t *testing.T) {
	c := open(t, t.TempDir(), filecache.Options{})
	for _, name := range []string{"", "..", "../../etc/passwd", "buildlog", ".lpbuildd", "x.tmp"} {
		if p, err := c.Ensure(t.Context(), name, filecache.Source{}); err == nil {
			t.Errorf("Ensure(%q) answers %v", name, p)
		}
		if p, err := c.Present(t.Context(), name); err == nil {
			t.Errorf("Present(%q) answers %v", name, p)
		}
	}
}

func TestTextsOfFailures(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"/missing":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"/server":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"/wrong":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("wrong")) },
		"/fishing":  raw("HTTP/1.1 404 Gone Fishing & <more>\r\nContent-Length: 0\r\n\r\n"),
		"/nowords":  raw("HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n"),
		"/latin":    raw("HTTP/1.1 404 caf\xe9\x01\r\nContent-Length: 0\r\n\r\n"),
		"/hangup":   raw(""),
		"/loop":     raw("HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n"),
		"/tofile":   raw("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
		"/nowhere":  raw("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),
		"/unneeded": raw("HTTP/1.1 304 Not Modified\r\n\r\n"),
	}
	base := serve(t, func(w http.ResponseWriter, r *http.Request) { handlers[r.URL.Path](w, r) })
	cases := []struct{ url, info string }{
		{base + "/missing", failed + "HTTP Error 404: Not Found"},
		{base + "/server", failed + "HTTP Error 500: Internal Server Error"},
		{base + "/wrong", "Digests did not match, removing again!"},
		{base + "/fishing", failed + "HTTP Error 404: Gone Fishing & <more>"},
		{base + "/nowords", failed + "HTTP Error 404: "},
		{base + "/latin", failed + "HTTP Error 404: café "},
		{base + "/hangup", failed + "Remote end closed connection without response"},
		{base + "/loop", failed + "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop. " +
			"The last 30x error message was: Found"},
		{base + "/tofile", failed + "HTTP Error 302: Found - Redirection to url 'file:///etc/passwd' is not allowed"},
		{base + "/nowhere", failed + "HTTP Error 302: Found"},
		{base + "/unneeded", failed + "HTTP Error 304: Not Modified"},
		{"http://" + unusedAddress + "/x", failed + "<urlopen error [Errno 111] Connection refused>"},
		{"", failed + "unknown url type: ''"},
		{"nonsense", failed + "unknown url type: 'nonsense'"},
		{"//user:secret@host/x", failed + "unknown url type: '[redacted]@host/x'"},
		{"user:secret@host/x", failed + "<urlopen error unknown url type: [redacted]>"},
		{"https%3A%2F%2Fuser%3Asecret%40host%2Fx", failed + "unknown url type: '[redacted]@host%2Fx'"},
		{"//host/x?token=secret", failed + "unknown url type: '//host/x'"},
		{"http://u:sec/ret%40host/a b", failed + "URL can't contain control characters. '[redacted]@host/a b' (found at least ' ')"},
		{"gopher://x/", failed + "<urlopen error unknown url type: gopher>"},
		{"file:///etc/passwd", failed + "<urlopen error unknown url type: file>"},
		{"FTP://x/", failed + "<urlopen error unknown url type: ftp>"},
		{"http://", failed + "<urlopen error no host given>"},
		{"http:opaque", failed + "<urlopen error no host given>"},
		{"http://[::1", failed + "<urlopen error the URL cannot be parsed>"},
		{"http://h/a b?secret", failed + "URL can't contain control characters. '/a b' (found at least ' ')"},
		{
			"http://user:pw@127.0.0.1:1/x",
			failed + "<urlopen error [Errno -2] Name or service not known (user information in URLs is not supported)>",
		},
	}
	c := open(t, t.TempDir(), filecache.Options{})
	for _, tc := range cases {
		t.Run(strings.TrimPrefix(tc.url, base), func(t *testing.T) {
			want(t, ensure(t, c, noSum, from(tc.url)), false, tc.info)
		})
	}
	checkClean(t, c)
}

func TestAnUpperCaseNameNeverMatches(t *testing.T) {
	data := blob(10)
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
	c := open(t, t.TempDir(), filecache.Options{})
	want(t, ensure(t, c, strings.ToUpper(sum(data)), from(url)), false, "Digests did not match, removing again!")
	checkClean(t, c)
}

func TestCredentialsGoWithTheFirstRequest(t *testing.T) {
	cases := []struct{ user, password, header string }{
		{"user", "password", "Basic dXNlcjpwYXNzd29yZA=="},
		{"", "macaroon", "Basic Om1hY2Fyb29u"},
		{"user", "", "Basic dXNlcjo="},
		{"usér", "pässwörd", "Basic dXPDqXI6cMOkc3N3w7ZyZA=="},
		{"", "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.user+" "+tc.password, func(t *testing.T) {
			var got []string
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = append(got, r.Header.Get("Authorization"))
				_, _ = w.Write([]byte(tc.header))
			})
			c := open(t, t.TempDir(), filecache.Options{})
			src := filecache.Source{URL: &url, Username: tc.user, Password: tc.password}
			want(t, ensure(t, c, sum([]byte(tc.header)), src), true, "Download")
			if len(got) != 1 || got[0] != tc.header {
				t.Errorf("the server saw %q, want %q", got, tc.header)
			}
		})
	}
}

func TestCredentialsStayWithTheirServer(t *testing.T) {
	data := blob(100)
	handler := func(seen *[]string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			*seen = append(*seen, r.Header.Get("Authorization")+r.Header.Get("Referer"))
			if target := r.URL.Query().Get("to"); target != "" {
				http.Redirect(w, r, target, http.StatusFound)
				return
			}
			_, _ = w.Write(data)
		}
	}
	var first, second []string
	here, there := serve(t, handler(&first)), serve(t, handler(&second))
	c := open(t, t.TempDir(), filecache.Options{})
	for _, target := range []string{"/other", there} {
		u := here + "/?to=" + url.QueryEscape(target)
		want(t, ensure(t, c, sum(data), filecache.Source{URL: &u, Password: "secret"}), true, "Download")
		if err := c.Remove(sum(data)); err != nil {
			t.Fatal(err)
		}
	}
	const auth = "Basic OnNlY3JldA=="
	if got := fmt.Sprint(first); got != fmt.Sprint([]string{auth, auth, auth}) {
		t.Errorf("the first server saw %v", got)
	}
	if got := fmt.Sprint(second); got != "[]" && got != fmt.Sprint([]string{""}) {
		t.Errorf("the second server saw %v", got)
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	c := open(t, t.TempDir(), filecache.Options{Log: logTo(&log)})
	base := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	urls := []string{
		base + "/?token=secret1", "http://u:secret1@host/", "http://u:sec/secret1@host/", "u:secret1@host",
		"http://u:secret1@host:port/", "//u:secret1@host/x", "ftp://u:secret1@host/", "http://u:secret1@ho st/",
	}
	for _, u := range urls {
		p := ensure(t, c, noSum, filecache.Source{URL: &u, Username: "u", Password: "secret1"})
		if strings.Contains(p.Info, "secret1") {
			t.Errorf("%s: the answer is %q", u, p.Info)
		}
	}
	if strings.Contains(log.String(), "secret1") {
		t.Errorf("the log has a secret:\n%s", log.String())
	}
}

// Servers repeat what they were asked with, and people read it.
func TestNoAnswerOfAServerHasASecret(t *testing.T) {
	const user, password = "reader-7", `mac/aroon+"x"=&y`
	token := "t0ken-of-the-url"
	encode := func(text string) string {
		var b strings.Builder
		for _, c := range []byte(text) {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		return b.String()
	}
	both := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	for _, repeated := range []string{
		password, user, token, strings.ToUpper(password), url.QueryEscape(password), url.PathEscape(password), encode(password), encode(encode(password)),
		html.EscapeString(password), strings.ReplaceAll(password, "/", `\/`), both, "Basic " + both, base64.StdEncoding.EncodeToString([]byte(password)),
		"http://" + user + ":" + url.QueryEscape(password) + "@host/", encode(user + ":" + password),
	} {
		var log bytes.Buffer
		c := open(t, t.TempDir(), filecache.Options{Log: logTo(&log)})
		status := func(line, header string) string {
			return "HTTP/1.1 " + line + "\r\n" + header + "Content-Length: 0\r\n\r\n"
		}
		for answer, info := range map[string]string{
			status("403 No "+repeated+" here", ""):                                                 "HTTP Error 403: Forbidden",
			status("599 No "+repeated+" here", ""):                                                 "HTTP Error 599: ",
			status("401 Unauthorized", "WWW-Authenticate: Basic realm="+repeated+"\r\n"):           "HTTP Error 401: Unauthorized",
			status("302 "+repeated, "Location: file:///"+url.PathEscape(repeated)+"\r\n"):          "",
			status("302 Found", "Location: http://u:"+url.QueryEscape(repeated)+"@host/x\r\n"):     "HTTP Error 302: Found - Redirection to url 'http://[redacted]@host/x' is not allowed",
			status("302 Found", "Location: http://host:"+url.PathEscape(repeated)+"/\r\n"):         "",
			status("302 Found", "Location: http://%zz"+repeated+"\r\n"):                            "",
			status("302 Found", "Location: /loop\r\n"):                                             "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop. The last 30x error message was: Found",
			"HTTP/1.1 404 Gone\r\nContent-Type: text/plain\r\n\r\nThe body has " + repeated + "\n": "HTTP Error 404: Gone",
			repeated + "\r\n\r\n":                                            "",
			"HTTP/1.1 " + repeated + "\r\n\r\n":                              "",
			"HTTP/1.1 200 OK\r\n" + repeated + "\r\n\r\n":                    "",
			"HTTP/1.1 200 OK\r\nContent-Length: " + repeated + "\r\n\r\n":    "",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + repeated + "\r\n\r\n": "",
		} {
			u := serve(t, raw(answer)) + "/?token=" + token
			got := ensure(t, c, noSum, filecache.Source{URL: &u, Username: user, Password: password})
			if info != "" && got.Info != failed+info || strings.ContainsAny(got.Info, "\r\n") || len(got.Info) > 400 {
				t.Errorf("%q: the answer is %q", answer, got.Info)
			}
			if text := got.Info + log.String(); strings.Contains(text, repeated) || strings.Contains(text, password) || strings.Contains(text, "The body") {
				t.Errorf("%q: the answer is %q, the log\n%s", answer, got.Info, log.String())
			}
			log.Reset()
		}
	}
}

// What a certificate says is the server's, too.
func TestReasonsOfSecureConnections(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	defer server.Close()
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	c := open(t, t.TempDir(), filecache.Options{})
	for _, tc := range []struct{ url, password, info string }{
		{server.URL, "", "<urlopen error tls: failed to verify certificate: x509: certificate signed by unknown authority>"},
		{server.URL, "certificate", "<urlopen error no secure connection>"},
		{strings.Replace(plain, "http:", "https:", 1), "", "http: server gave HTTP response to HTTPS client"},
	} {
		got := ensure(t, c, noSum, filecache.Source{URL: &tc.url, Password: tc.password})
		want(t, got, false, failed+tc.info)
	}
}

func TestBodiesWithoutALength(t *testing.T) {
	data := blob(70_000)
	cases := map[string]http.HandlerFunc{
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(data); i += 10_000 {
				_, _ = w.Write(data[i : i+10_000])
				w.(http.Flusher).Flush()
			}
		},
		"until the connection closes": raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + string(data)),
	}
	for name, handler := range cases {
		t.Run(name, func(t *testing.T) {
			c := open(t, t.TempDir(), filecache.Options{})
			want(t, ensure(t, c, sum(data), from(serve(t, handler))), true, "Download")
		})
	}
}

func TestOneDownloadHoweverManyAsk(t *testing.T) {
	const callers = 20
	data := blob(400_000)
	var hits atomic.Int32
	go1 := make(chan struct{})
	src := from(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		<-go1
		_, _ = w.Write(data)
	}))
	c := open(t, t.TempDir(), filecache.Options{})
	var wg sync.WaitGroup
	var downloads atomic.Int32
	for range callers {
		wg.Go(func() {
			p, err := c.Ensure(t.Context(), sum(data), src)
			if err != nil || !p.Present {
				t.Errorf("got %v, %v", p, err)
			}
			if p.Info == "Download" {
				downloads.Add(1)
			}
		})
	}
	close(go1)
	wg.Wait()
	if hits.Load() != 1 || downloads.Load() == 0 {
		t.Errorf("%d requests, %d answers say Download", hits.Load(), downloads.Load())
	}
	checkClean(t, c, sum(data))
}

func TestManyFilesAtOnce(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat(r.URL.Path, 1000)))
	})
	c := open(t, t.TempDir(), filecache.Options{MaxBytes: 1 << 30})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			path := fmt.Sprintf("/%d", i%10)
			p, err := c.Ensure(t.Context(), sum([]byte(strings.Repeat(path, 1000))), from(base+path))
			if err != nil || !p.Present {
				t.Errorf("%s: %v, %v", path, p, err)
			}
		})
	}
	wg.Wait()
}

func TestACallerWhoGivesUpEndsOnlyItsOwnWait(t *testing.T) {
	data := blob(5000)
	asked, release := make(chan struct{}), make(chan struct{})
	src := from(serve(t, func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-release
		_, _ = w.Write(data)
	}))
	c := open(t, t.TempDir(), filecache.Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("gone")
	quitter := make(chan error)
	go func() {
		_, err := c.Ensure(ctx, sum(data), src)
		quitter <- err
	}()
	<-asked
	patient := make(chan filecache.Presence)
	go func() {
		p, _ := c.Ensure(context.WithoutCancel(ctx), sum(data), src)
		patient <- p
	}()
	cancel(cause)
	if err := <-quitter; !errors.Is(err, cause) {
		t.Errorf("the one who gave up gets %v", err)
	}
	close(release)
	if p := <-patient; !p.Present {
		t.Errorf("the one who waited gets %v", p)
	}
}

func TestSomebodyElsesBadPasswordDoesNotCount(t *testing.T) {
	data := blob(5000)
	asked, release := make(chan struct{}), make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password == "good" {
			_, _ = w.Write(data)
			return
		}
		close(asked)
		<-release
		w.WriteHeader(http.StatusUnauthorized)
	})
	c := open(t, t.TempDir(), filecache.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		p, _ := c.Ensure(t.Context(), sum(data), filecache.Source{URL: &url, Password: "bad"})
		want(t, p, false, failed+"HTTP Error 401: Unauthorized")
	})
	<-asked
	wg.Go(func() {
		p, _ := c.Ensure(t.Context(), sum(data), filecache.Source{URL: &url, Password: "good"})
		want(t, p, true, "Download")
	})
	close(release)
	wg.Wait()
}

func TestCloseEndsDownloads(t *testing.T) {
	asked := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}))
	defer s.Close()
	c, err := filecache.Open(t.TempDir(), filecache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan filecache.Presence)
	go func() {
		p, _ := c.Ensure(t.Context(), noSum, from(s.URL))
		done <- p
	}()
	<-asked
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if p := <-done; p.Present || !strings.HasPrefix(p.Info, failed) {
		t.Errorf("got %v", p)
	}
}

// raw answers with these bytes and hangs up.
func raw(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.Close()
	}
}

// unusedAddress is one that nobody listens on, nor is about to.
const unusedAddress = "127.0.0.1:1"
