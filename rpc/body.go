package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"golang.org/x/sync/semaphore"

	"lpbuildd/ordered"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

// claim is what one call holds of the memory that all large calls share.
type claim struct {
	pool *semaphore.Weighted
	held int64
}

// take claims the memory for a body of a size, and waits for others to let go of
// theirs.
func (c *claim) take(ctx context.Context, size int64, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("other large calls are being read, try again"))
	defer cancel()
	c.held = memoryPerByte * min(max(size, smallBody), wire.MaxBody)
	if c.pool.Acquire(ctx, c.held) != nil {
		c.held = 0
		return context.Cause(ctx)
	}
	return nil
}

// shrink gives back all but what so many bytes need.
func (c *claim) shrink(size int64) {
	if size <= smallBody {
		size = 0
	}
	if keep := memoryPerByte * size; keep < c.held {
		c.pool.Release(c.held - keep)
		c.held = keep
	}
}

// readCall reads and decodes the body. The time for that is limited (see
// ServeHTTP); the time for what follows is not. A call with a large body claims
// memory before it is read; when it is decoded, the call keeps what its
// parameters need, so that padding holds nothing up.
func (s *Server) readCall(w http.ResponseWriter, r *http.Request, body *bytes.Buffer, c *claim) (xmlrpc.Call, error) {
	err := s.readBody(w, r, body, c)
	if err == nil && body.Len() > wire.MaxBody {
		err = fmt.Errorf("it is larger than %d bytes", wire.MaxBody)
	}
	if err != nil {
		// Nobody knows where the next request on this connection starts.
		w.Header().Set("Connection", "close")
		*body = bytes.Buffer{}
		c.shrink(0)
		discard(r.Body)
		return xmlrpc.Call{}, fmt.Errorf("cannot read the request body: %w", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // tests' writers have none
	call, err := xmlrpc.DecodeCall(body.Bytes())
	if body.Cap() > 2*smallBody {
		*body = bytes.Buffer{}
	}
	c.shrink(sizeOf(call.Params))
	return call, err
}

func (s *Server) readBody(w http.ResponseWriter, r *http.Request, body *bytes.Buffer, c *claim) error {
	content, size, err := decompressed(r)
	if err != nil {
		return err
	}
	_, err = body.ReadFrom(io.LimitReader(content, smallBody))
	if err != nil || body.Len() < smallBody {
		return err
	}
	if size < 0 || size > wire.MaxBody {
		size = wire.MaxBody
	}
	if err := c.take(r.Context(), size, s.bodyTime); err != nil {
		return err
	}
	s.limitReading(w)
	body.Grow(int(size) - body.Len() + bytes.MinRead) // once, instead of twice what is there again and again
	_, err = body.ReadFrom(io.LimitReader(content, wire.MaxBody+1-smallBody))
	return err
}

// decompressed is the body without its Content-Encoding, and its size if that is
// known, else -1.
func decompressed(r *http.Request) (io.Reader, int64, error) {
	switch name := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ","))); name {
	case "", "identity":
		return r.Body, r.ContentLength, nil
	case "gzip", "x-gzip":
		content, err := gzip.NewReader(r.Body)
		return content, -1, err
	case "deflate":
		content, err := zlib.NewReader(r.Body)
		return content, -1, err
	default:
		return nil, 0, fmt.Errorf("the Content-Encoding %.40q is not supported: use gzip, deflate or none", name)
	}
}

// discard throws away what is left of a body that is refused, because many
// clients read no reply before they have sent everything.
func discard(body io.Reader) {
	const patience = 1 << 30
	_, _ = io.CopyN(io.Discard, body, patience)
}

// sizeOf is about how much memory a decoded value holds. The decoder has limited
// how deep values are nested.
func sizeOf(value any) (size int64) {
	const word = 16
	switch v := value.(type) {
	case string:
		return word + int64(len(v))
	case xmlrpc.BigInt:
		return word + int64(len(v))
	case xmlrpc.DateTime:
		return word + int64(len(v))
	case []byte:
		return 2*word + int64(len(v))
	case []any:
		for _, item := range v {
			size += word + sizeOf(item)
		}
		return size + 2*word
	case ordered.Struct:
		for _, m := range v {
			size += 2*word + int64(len(m.Name)) + sizeOf(m.Value)
		}
		return size + 2*word
	}
	return word
}
