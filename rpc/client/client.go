// Package client drives a builder over its port, as a manager does: the calls of
// the protocol, the files of the builder's cache, and a build's log as it grows.
// Commands of a person and tests run it, without any privilege; it touches nothing
// but the network.
//
// A Client may be used concurrently.
package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

// Client drives a builder. Its methods return a *Fault when the builder
// refused the call, and another error when it could not be asked.
//
// It uses this project's codec and not github.com/kolo/xmlrpc, because nearly
// every call has something that library gets wrong: nil parameters are dropped
// (ensurepresent), member names are not escaped (build), base64 is not decoded
// (status), empty strings become nil, and calls have no contexts. Where it is
// right, the tests use it as a second opinion on the server.
type Client struct {
	base string // URL without trailing slash
	http *http.Client
	poll time.Duration
}

// Fault is a call that the builder refused or could not carry out.
type Fault struct { // the protocol's own word
	// Code is wire.CodeUnknown for an unknown method and wire.CodeFailed otherwise.
	Code int
	// String is the protocol's text, which may be just "error".
	String string
	// Reason is one line of plain ASCII that says what was wrong, at most 500 bytes;
	// "" from a builder that says no more than the String.
	Reason string
}

// Error shows the code and the reason.
func (f *Fault) Error() string {
	return fmt.Sprintf("fault %d: %s", f.Code, cmp.Or(f.Reason, f.String))
}

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient replaces the client that sends the requests.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithPoll sets how often FollowLog asks; the default is one second.
func WithPoll(d time.Duration) Option { return func(c *Client) { c.poll = d } }

// New makes a client for a builder's URL, such as http://127.0.0.1:8221; the
// path /rpc may be there. It does not connect.
func New(builder string, opts ...Option) (*Client, error) {
	u, err := url.Parse(builder)
	if err != nil {
		return nil, fmt.Errorf("cannot use builder URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("cannot use builder URL %q: expected something like http://127.0.0.1:8221", u.Redacted())
	}
	u.RawQuery, u.Fragment = "", ""
	c := &Client{
		base: strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/rpc"),
		poll: time.Second,
	}
	for _, opt := range opts {
		opt(c)
	}
	if c.http == nil {
		c.http = &http.Client{Transport: newTransport()}
	}
	return c, nil
}

// newTransport makes a transport of its own, so that Close disturbs nobody.
func newTransport() http.RoundTripper {
	if t, ok := http.DefaultTransport.(*http.Transport); ok {
		return t.Clone()
	}
	return &http.Transport{Proxy: http.ProxyFromEnvironment}
}

// Close lets go of idle connections. The client remains usable.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call calls any method. Results and parameters have the types of package
// xmlrpc.
func (c *Client) Call(ctx context.Context, method string, params ...any) (any, error) {
	doc, err := xmlrpc.AppendCall(nil, method, params)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", method, err)
	}
	value, reason, err := c.post(ctx, doc)
	var fault *xmlrpc.FaultError
	switch {
	case errors.As(err, &fault):
		return nil, &Fault{Code: fault.Code, String: fault.String, Reason: reason}
	case err != nil:
		return nil, fmt.Errorf("cannot call %s: %w", method, err)
	}
	return value, nil
}

// post sends a document and decodes the answer. The reason is that of a fault.
func (c *Client) post(ctx context.Context, doc []byte) (value any, reason string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/rpc", bytes.NewReader(doc))
	if err != nil {
		return nil, "", err
	}
	req.Header.Set("Content-Type", "text/xml; charset=utf-8")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("the builder answered %s", resp.Status)
	}
	const largest = 2 * wire.MaxBody
	body, err := io.ReadAll(io.LimitReader(resp.Body, largest+1))
	if err == nil && len(body) > largest {
		err = fmt.Errorf("the answer is larger than %d bytes", largest)
	}
	if err != nil {
		return nil, "", err
	}
	value, err = xmlrpc.DecodeResponse(body)
	return value, resp.Header.Get(wire.ReasonHeader), err
}
