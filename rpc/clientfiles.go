package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lpbuildd/buildd"
)

// BuildLog is the name of the log among the files. It has no checksum.
const BuildLog = "buildlog"

// File is a file of the builder, open for reading from an offset. The log of a
// build that runs ends where it ended when the file was opened.
type File struct {
	io.ReadCloser
	// Size is the length of the whole file, -1 if it is not known.
	Size int64
}

// OpenFile opens a file of the builder's cache, a SHA-1 or BuildLog, at an
// offset in bytes. Behind the end there is nothing to read, which is no error.
// A missing file is an fs.ErrNotExist. The contents are not checked.
func (c *Client) OpenFile(ctx context.Context, name string, offset int64) (*File, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/filecache/"+url.PathEscape(name), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	// Compression on the way would hide the length and shift the offset.
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	file, err := openReply(resp, offset)
	if err != nil {
		_ = resp.Body.Close() // the first error is the one to report
		return nil, fmt.Errorf("cannot open %s: %w", name, err)
	}
	return file, nil
}

func openReply(resp *http.Response, offset int64) (*File, error) {
	switch resp.StatusCode {
	case http.StatusOK:
		// A server without ranges starts at the beginning.
		if _, err := io.CopyN(io.Discard, resp.Body, offset); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return &File{ReadCloser: resp.Body, Size: resp.ContentLength}, nil
	case http.StatusPartialContent:
		return &File{ReadCloser: resp.Body, Size: totalSize(resp)}, nil
	case http.StatusRequestedRangeNotSatisfiable:
		_ = resp.Body.Close() // holds an error page
		return &File{ReadCloser: http.NoBody, Size: totalSize(resp)}, nil
	case http.StatusNotFound:
		return nil, fs.ErrNotExist
	}
	return nil, fmt.Errorf("the builder answered %s", resp.Status)
}

// totalSize is the number behind the slash of Content-Range, or -1.
func totalSize(resp *http.Response) int64 {
	_, total, _ := strings.Cut(resp.Header.Get("Content-Range"), "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return -1
	}
	return size
}

// FollowLog copies the build log to dst, from its start and as it grows, until
// the build is over, and returns the last status. Every status on the way is
// given to seen, which may be nil. A builder that does not answer for a while
// is asked again; a build other than the first one seen is an error.
func (c *Client) FollowLog(ctx context.Context, dst io.Writer, seen func(buildd.Status)) (buildd.Status, error) {
	f := follower{client: c, dst: dst, seen: seen}
	ticks := time.NewTicker(c.poll)
	defer ticks.Stop()
	lastAnswer := time.Now()
	for {
		st, over, err := f.step(ctx)
		switch {
		case err == nil && over:
			return st, nil
		case err == nil:
			lastAnswer = time.Now()
		case !isTransient(err) || time.Since(lastAnswer) > c.patience:
			return st, err
		}
		select {
		case <-ctx.Done():
			return st, context.Cause(ctx)
		case <-ticks.C:
		}
	}
}

// follower is what FollowLog remembers from one poll to the next.
type follower struct {
	client  *Client
	dst     io.Writer
	seen    func(buildd.Status)
	buildID string
	offset  int64
}

// step asks for the status first: what is in the log after the build was over
// is all there will be.
func (f *follower) step(ctx context.Context) (st buildd.Status, over bool, err error) {
	if st, err = f.client.Status(ctx); err != nil {
		return st, false, err
	}
	if f.seen != nil {
		f.seen(st)
	}
	over = st.State == buildd.Idle || st.State == buildd.Waiting
	if f.buildID == "" {
		f.buildID = st.BuildID
	}
	if f.buildID != st.BuildID {
		return st, false, &lostBuildError{want: f.buildID, got: st.BuildID}
	}
	return st, over, f.copyNews(ctx)
}

func (f *follower) copyNews(ctx context.Context) error {
	file, err := f.client.OpenFile(ctx, BuildLog, f.offset)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	n, err := io.Copy(writer{f.dst}, file)
	f.offset += n
	return err
}

// lostBuildError reports that the builder has gone on to something else.
type lostBuildError struct{ want, got string }

func (e *lostBuildError) Error() string {
	if e.got == "" {
		return fmt.Sprintf("the builder has lost build %s", e.want)
	}
	return fmt.Sprintf("the builder is at %s, no longer at %s", e.got, e.want)
}

// writer marks errors of the destination, which no patience cures.
type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}

type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

// isTransient says whether asking again may help.
func isTransient(err error) bool {
	var fault *Fault
	var lost *lostBuildError
	var write *writeError
	return !errors.As(err, &fault) && !errors.As(err, &lost) && !errors.As(err, &write) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
