package incus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// uploadIdle is how long the engine may take no data during an upload.
const uploadIdle = 2 * time.Minute

// upload is a body that can be given up: when ctx ends, and when the engine
// takes no data any more.
type upload struct {
	src  io.ReadCloser
	bind func(*http.Request) *http.Request
	idle *time.Timer
	wait time.Duration
}

// newUpload returns a body, and the context with which its request ends.
func newUpload(ctx context.Context, src io.ReadCloser, idle time.Duration) (*upload, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	u := &upload{
		src: src, wait: idle,
		bind: func(req *http.Request) *http.Request { return req.Clone(ctx) },
	}
	u.idle = time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("it took no data for %v: %w", idle, errDeadline))
	})
	return u, ctx
}

// Read implements io.Reader. The time that the source takes does not count.
func (u *upload) Read(p []byte) (int, error) {
	u.idle.Stop()
	n, err := u.src.Read(p)
	if err == nil {
		u.idle.Reset(u.wait)
	}
	return n, err
}

// Close ends the source as well.
func (u *upload) Close() error {
	u.idle.Stop()
	return u.src.Close()
}

// errUploadClosed tells the source that nobody reads it any more.
var errUploadClosed = errors.New("the upload was given up")
