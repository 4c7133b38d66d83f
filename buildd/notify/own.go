package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"lpbuildd/buildd"
	"lpbuildd/rpc"
	"lpbuildd/rpc/client"
)

// Asker makes a function that asks a builder for its status through its own
// handler, as a manager does, but without the network: [access] allow need not
// let this machine in.
func Asker(handler http.Handler) (func(context.Context) (buildd.Status, error), error) {
	own, err := client.New("http://localhost", client.WithHTTPClient(&http.Client{Transport: direct{handler}}))
	if err != nil {
		return nil, err
	}
	return own.Status, nil
}

// direct is a transport that calls a handler.
type direct struct{ handler http.Handler }

// RoundTrip returns when the handler does.
func (d direct) RoundTrip(r *http.Request) (_ *http.Response, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(err, fmt.Errorf("panic: %v", p))
		}
	}()
	a := &answer{header: http.Header{}, code: http.StatusOK}
	d.handler.ServeHTTP(a, r.WithContext(rpc.Unheard(r.Context())))
	return &http.Response{
		StatusCode: a.code, Status: http.StatusText(a.code), Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: r,
	}, nil
}

// answer collects what a handler writes.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header are the headers of the answer.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader keeps the status.
func (a *answer) WriteHeader(code int) { a.code = code }

// Write keeps the body.
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }
