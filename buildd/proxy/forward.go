package proxy

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// forwarder passes everything on to one upstream.
type forwarder struct {
	upstream upstream
	log      *accessLog
	connect  time.Duration
	dial     dialFunc
	plain    *httputil.ReverseProxy
}

func (f *forwarder) handle(x *exchange, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		f.tunnel(x, r)
	case !r.URL.IsAbs():
		notAServer(x)
	case r.Method == http.MethodTrace:
		// The answer would be the request, with the credentials in it.
		http.Error(x, "This proxy does not pass on TRACE.", http.StatusMethodNotAllowed)
	default:
		forward(f.plain, x, r)
	}
}

func notAServer(w http.ResponseWriter) {
	http.Error(w, "This is a proxy: ask for an absolute URL.", http.StatusBadRequest)
}

func forward(p *httputil.ReverseProxy, x *exchange, r *http.Request) {
	// Otherwise an early answer waits for the whole body of the request.
	_ = http.NewResponseController(x).EnableFullDuplex()
	p.ServeHTTP(x, r)
}

// rewrite sends the request line as it came, to the upstream.
func (f *forwarder) rewrite(r *httputil.ProxyRequest) {
	keepForwarded(r)
	r.Out.URL = &url.URL{Scheme: "http", Host: f.upstream.address, Opaque: r.In.RequestURI}
	f.upstream.authorize(r.Out.Header)
}

// keepForwarded undoes what ReverseProxy does for servers that trust it.
func keepForwarded(r *httputil.ProxyRequest) {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

const refusal = "The build's network token was refused or has expired.\n"

func (f *forwarder) inspect(resp *http.Response) error {
	if old := resp.Body; f.refused(resp) {
		_ = old.Close()
	}
	return nil
}

// refused turns the upstream's 407 into one that no tool asks a person about.
func (f *forwarder) refused(resp *http.Response) bool {
	if resp.StatusCode != http.StatusProxyAuthRequired {
		return false
	}
	f.log.once("the build's network token was refused or has expired (the upstream proxy answered 407); " +
		"network requests of this build fail from here on")
	resp.Header = http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	resp.Trailer = nil
	resp.Body = http.NoBody
	if resp.Request.Method != http.MethodHead {
		resp.Header.Set("Content-Length", strconv.Itoa(len(refusal)))
		resp.Body = io.NopCloser(strings.NewReader(refusal))
	}
	return true
}

// failed answers when the upstream did not (spec: proxy.md section 2, point 7).
func (f *forwarder) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the proxy is being closed
	case errors.Is(err, errUnreachable):
		f.log.once("%v", err)
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, "<H1>Could not connect</H1>")
	default:
		f.log.once("the upstream proxy broke off a request: %v", err)
		http.Error(w, "The upstream proxy broke off the request.", http.StatusBadGateway)
	}
}

// newReverseProxy streams in both directions. Every request has its own
// connection, so none can fail because an idle one was closed meanwhile.
func newReverseProxy(
	rewrite func(*httputil.ProxyRequest), inspect func(*http.Response) error,
	failed func(http.ResponseWriter, *http.Request, error), dial dialFunc,
) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        rewrite,
		ModifyResponse: inspect,
		ErrorHandler:   failed,
		FlushInterval:  -1,
		BufferPool:     &buffers{},
		ErrorLog:       log.New(io.Discard, "", 0), // clients that go away
		Transport: &http.Transport{
			DialContext:            dial,
			DisableCompression:     true,
			DisableKeepAlives:      true,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: maxHeader,
		},
	}
}

// buffers lends out what bytes are copied through.
type buffers struct{ pool sync.Pool }

// Get returns a buffer of any content.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 64<<10)
}

// Put takes a buffer back.
func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// withoutHopByHop is h without what ends at the next proxy (RFC 9110 section
// 7.6.1) and what has no meaning for a tunnel.
func withoutHopByHop(h http.Header) http.Header {
	h = h.Clone()
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	} {
		h.Del(name)
	}
	return h
}

// copyHeader adds all of src to dst.
func copyHeader(dst, src http.Header) {
	for name, values := range src {
		dst[name] = slices.Concat(dst[name], values)
	}
}

// closeOn closes conns when ctx ends, until the returned function is called.
func closeOn(ctx context.Context, conns ...io.Closer) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
}
