package proxy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// revokeTimeout is the limit of spec: proxy.md section 8.
const revokeTimeout = 15 * time.Second

// Token is access to the network that has to be revoked when a build is over. It
// prints without its secret.
type Token struct {
	// UpstreamURL is the URL of the upstream proxy with the credentials.
	UpstreamURL string `json:"upstream_url"`
	// Endpoint is where it is revoked; "" is nowhere.
	Endpoint string `json:"endpoint"`
	// FetchService tells the two kinds of upstream apart, which revoke
	// differently. It counts for every build type.
	FetchService bool `json:"fetch_service"`
}

// User is the name that the token belongs to, which is no secret, or "".
func (t Token) User() string {
	u, err := ParseURL(t.UpstreamURL)
	if err != nil {
		return ""
	}
	return u.User.Username()
}

// String shows nothing secret.
func (t Token) String() string { return fmt.Sprintf("token of %q", t.User()) }

// GoString shows nothing secret.
func (t Token) GoString() string { return t.String() }

// Revoke asks the token service once, and for 15 s at most, to make the token
// invalid (spec: proxy.md section 8). Any answer but success is an error, which
// is for the log only. client may be nil; its redirects are not followed, as they
// would turn the request into a harmless GET. Without an Endpoint nothing is done.
func (t Token) Revoke(ctx context.Context, client *http.Client) error {
	if t.Endpoint == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, revokeTimeout, errors.New("no answer within 15 s"))
	defer cancel()
	req, err := t.revocation(ctx)
	if err != nil {
		return err
	}
	resp, err := revoker(client).Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("cannot ask %s: %s", req.URL.Host, t.withoutSecret(err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("cannot read the answer of %s: %s", req.URL.Host, t.withoutSecret(err))
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %d %s; the token may still be valid",
			req.URL.Host, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}

func (t Token) revocation(ctx context.Context) (*http.Request, error) {
	u, err := ParseURL(t.UpstreamURL)
	if err != nil {
		return nil, err
	}
	password, _ := u.User.Password()
	if u.User.Username() == "" && password == "" {
		return nil, errors.New("the proxy URL has no credentials that could be revoked")
	}
	var body []byte
	if t.FetchService {
		if body, err = json.Marshal(map[string]string{"token": password}); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, t.Endpoint, bytes.NewReader(body))
	if err != nil || req.URL.Host == "" {
		return nil, errors.New("the revocation endpoint is not a URL")
	}
	if t.FetchService {
		req.Header.Set("Content-Type", "application/json")
	} else {
		req.Header.Set("Authorization", basic(u.User.Username(), password))
	}
	return req, nil
}

// revoker is client without redirects; by default one that uses no proxy and
// keeps nothing open.
func revoker(client *http.Client) *http.Client {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if client != nil {
		c = *client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// withoutSecret is the text of err without the URL that net/http adds and
// without the password, whoever put it there.
func (t Token) withoutSecret(err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	text := err.Error()
	if u, parseErr := ParseURL(t.UpstreamURL); parseErr == nil {
		password, _ := u.User.Password()
		for _, form := range secretForms(u.User.Username(), password) {
			text = strings.ReplaceAll(text, form, redacted)
		}
	}
	return cmp.Or(text, "unknown error")
}
