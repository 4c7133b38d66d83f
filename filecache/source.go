package filecache

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode"
)

// Source says where a file can be fetched from.
type Source struct {
	// URL is nil when the caller only asks whether the file is there.
	URL *string
	// Username and Password are sent as basic authentication with the first
	// request, if one of them is not empty.
	Username, Password string
}

const maxRedirects = 10

// newClient is a copy of the client with our rules for redirects, or one of our
// own, which uses each connection once and never decodes a body.
func newClient(given *http.Client) *http.Client {
	client := http.Client{}
	if given != nil {
		client = *given
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone()
		t.DisableCompression = true
		t.DisableKeepAlives = true
		client.Transport = t
	}
	client.CheckRedirect = checkRedirect
	return &client
}

// checkRedirect keeps credentials on the server they were meant for, and on that
// server when it wants to be spoken to in secret; net/http alone would give them
// to its subdomains and other ports.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return loopError(req.Response)
	}
	if _, err := parseURL(req.URL.String()); err != nil {
		return forbiddenRedirectError(req.Response, redactURL(req.URL.String()))
	}
	first := via[0].URL
	if origin(req.URL) != origin(first) && origin(req.URL) != origin(secure(first)) {
		req.Header.Del("Authorization")
	}
	req.Header.Del("Referer")
	return nil
}

// secure is a URL of an http server's usual port as one of https.
func secure(u *url.URL) *url.URL {
	if origin(u) != "http://"+net.JoinHostPort(strings.ToLower(u.Hostname()), "80") {
		return u
	}
	return &url.URL{Scheme: "https", Host: net.JoinHostPort(u.Hostname(), "443")}
}

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" && u.Scheme == "http" {
		port = "80"
	} else if port == "" {
		port = "443"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// parseURL accepts what can be fetched: http and https with a host. The errors
// are reasons for the caller; none of them shows user information.
func parseURL(raw string) (*url.URL, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || scheme == "" || strings.Contains(scheme, "/") {
		return nil, reasonError("unknown url type: " + quote(raw))
	}
	if s := strings.ToLower(scheme); s != "http" && s != "https" {
		if userEnd.MatchString(rest) && !strings.HasPrefix(rest, "//") {
			s = "[redacted]" // a user's name
		}
		return nil, urlopenError("unknown url type: " + printable(s))
	}
	if i := strings.IndexFunc(raw, isForbidden); i >= 0 {
		_, path, _ := strings.Cut(strings.TrimPrefix(rest, "//"), "/")
		return nil, reasonError(fmt.Sprintf("URL can't contain control characters. %s (found at least %s)",
			quote("/"+path), "'"+printable(raw[i:i+1])+"'"))
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		// The text of the error would show parts of the URL.
		return nil, urlopenError("the URL cannot be parsed")
	case u.Host == "" || !strings.HasPrefix(rest, "//"):
		return nil, urlopenError("no host given")
	case u.User != nil:
		return nil, urlopenError("[Errno -2] Name or service not known (user information in URLs is not supported)")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func isForbidden(r rune) bool { return r == ' ' || r < ' ' || r == unicode.MaxASCII }

// redactURL is the URL without what may be secret: user information and the
// query.
func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || strings.Contains(u.Path, "@") {
		return "[unreadable URL]"
	}
	u.Fragment, u.RawFragment = "", ""
	if u.RawQuery != "" {
		u.RawQuery = "[redacted]"
	}
	if u.User != nil {
		u.User = nil
		return strings.Replace(u.String(), "//", "//[redacted]@", 1)
	}
	return u.String()
}

// quote shows a text as the reference does, without a query and without what
// stands before an "@", however that is written.
func quote(s string) string {
	s, _, _ = strings.Cut(s, "?")
	if at := userEnd.FindStringIndex(s); at != nil {
		s = "[redacted]@" + s[at[1]:]
	}
	return "'" + printable(s) + "'"
}

// userEnd finds the last "@", percent-encoded as often as anybody likes.
var userEnd = regexp.MustCompile(`(?i)^.*(@|%(25)*40)`)

func loopError(resp *http.Response) error {
	if resp == nil {
		return errors.New("too many redirects")
	}
	e := refusal(resp)
	e.loops = true
	return e
}

func forbiddenRedirectError(resp *http.Response, target string) error {
	if resp == nil {
		return errors.New("forbidden redirect")
	}
	e := refusal(resp)
	e.target = target
	return e
}
