package client

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
)

// File is a file of the builder, open for reading from an offset. The log of a
// build that runs ends where it ended when the file was opened.
type File struct {
	io.ReadCloser
	// Size is the length of the whole file, -1 if it is not known.
	Size int64
}

// OpenFile opens a file of the builder's cache, a SHA-1 or wire.BuildLog, at an
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
