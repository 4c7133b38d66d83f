package filecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

const (
	// roomStep is how much is written between two looks at the free space.
	roomStep = 16 << 20
	// progressBytes of new content are worth a new set of attempts.
	progressBytes = 1 << 20
	// idleWeight makes a silent server use up attempts faster, because each of
	// them costs the whole idle timeout.
	idleWeight = 2
)

var errMismatch = errors.New("the content has another digest")

// brokenError is the end of an attempt after which another one makes sense.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// backoff are the pauses before further attempts.
func backoff() []time.Duration {
	return []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second}
}

// downloader fetches files of others into temporaries, with room made for them.
type downloader struct {
	client      *http.Client
	idle        time.Duration   // without a byte until a connection is given up
	backoff     []time.Duration // before each further attempt
	temporaries *temporaries
	evictor     *evictor
	log         *slog.Logger
}

// get fetches the content of that name, or any if the name is "". The caller
// discards what it gets.
func (l *downloader) get(ctx context.Context, name string, src Source) (*temporary, error) {
	u, err := parseURL(*src.URL)
	if err != nil {
		return nil, err
	}
	tmp, err := l.temporary(ctx)
	if err != nil {
		return nil, err
	}
	d := &download{downloader: l, name: name, src: src, url: u, tmp: tmp, total: -1}
	if err := d.fetch(ctx); err != nil {
		tmp.discard()
		return nil, err
	}
	return tmp, nil
}

// temporary makes one, and may evict to get it.
func (l *downloader) temporary(ctx context.Context) (*temporary, error) {
	tmp, err := l.temporaries.create()
	if !errors.Is(err, unix.ENOSPC) {
		return tmp, err
	}
	if freed, err := l.evictor.evict(ctx, disk.Room{Bytes: roomStep, Inodes: inodesOfEntry}); err != nil || freed == 0 {
		return nil, errors.Join(unix.ENOSPC, err)
	}
	return l.temporaries.create()
}

// secretsOf are those of a source, and of the proxy that leads to it.
func (l *downloader) secretsOf(src Source) secrets {
	var s secrets
	s.add(src.Username, src.Password)
	if src.URL == nil {
		return s
	}
	u, err := url.Parse(*src.URL)
	if err != nil {
		return s
	}
	s.addUser(u.User)
	for _, values := range u.Query() {
		for _, value := range values {
			s.add("", value) // it may be a token
		}
	}
	if t, ok := l.client.Transport.(*http.Transport); ok && t.Proxy != nil {
		if proxy, err := t.Proxy(&http.Request{URL: u}); err == nil && proxy != nil {
			s.addUser(proxy.User)
		}
	}
	return s
}

// download is one file on its way into the cache, over several connections if
// they break.
type download struct {
	*downloader
	name string // "" if it is not known
	src  Source
	url  *url.URL
	tmp  *temporary

	started   bool   // a server has answered with content
	resumed   bool   // tmp has content of several answers
	validator string // for If-Range, "" if the server gave none
	total     int64  // size of the whole file, -1 if unknown
	high      int64  // the most that tmp ever had
	roomFor   int64  // size of tmp up to which there was room
}

// fetch gets the content and compares it with the name, if there is one.
func (d *download) fetch(ctx context.Context) error {
	err := d.fetchAll(ctx)
	if err == nil && d.resumed && d.differs() {
		d.log.WarnContext(ctx, "a resumed download has the wrong content, starting again", "name", d.name)
		if err = d.restart(); err == nil {
			err = d.fetchAll(ctx)
		}
	}
	if err == nil && d.differs() {
		err = errMismatch
	}
	return err
}

func (d *download) differs() bool { return d.name != "" && d.tmp.stored().SHA1 != d.name }

// fetchAll makes attempts until the content is whole.
func (d *download) fetchAll(ctx context.Context) error {
	for failures := 0; ; {
		before := d.high
		err := d.attempt(ctx)
		broken := (*brokenError)(nil)
		if err == nil || !errors.As(err, &broken) {
			return err
		}
		if d.high-before >= progressBytes {
			failures = 0
		}
		if failures >= len(d.backoff) {
			return err
		}
		d.log.WarnContext(ctx, "a download broke off, trying again", "name", d.name, "at", d.tmp.size, "error", reason(err, d.secretsOf(d.src)))
		select {
		case <-time.After(d.backoff[failures]):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		failures++
		if errors.Is(err, errIdle) {
			failures += idleWeight - 1
		}
	}
}

// attempt makes one request and appends what it gives.
func (d *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(d.idle, func() {
		cancel(fmt.Errorf("%w (no data for %s)", errIdle, d.idle))
	})
	defer idle.Stop()
	resp, err := d.request(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return d.afterStart(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := d.accept(resp); err != nil {
		return err
	}
	idle.Stop()
	if d.total > 0 {
		if err := d.evictor.makeRoom(ctx, disk.Room{Bytes: d.total - d.tmp.size, Inodes: 1}); err != nil {
			return err
		}
	}
	return d.receive(ctx, resp, idle)
}

func (d *download) request(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "lpbuildd")
	req.Header.Set("Accept-Encoding", "identity")
	if d.src.Username != "" || d.src.Password != "" {
		req.SetBasicAuth(d.src.Username, d.src.Password)
	}
	// Without a validator the digest tells whether the parts fit, if it is known.
	if d.tmp.size > 0 && (d.name != "" || d.validator != "") {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.tmp.size))
		if d.validator != "" {
			req.Header.Set("If-Range", d.validator)
		}
	}
	return d.client.Do(req)
}

// afterStart marks an error as worth another attempt if the server has already
// shown that it has the file.
func (d *download) afterStart(err error) error {
	if d.started {
		return &brokenError{err}
	}
	return err
}

// accept decides what the status and the header mean for what we have.
func (d *download) accept(resp *http.Response) error {
	continues := resp.StatusCode == http.StatusPartialContent && d.tmp.size > 0
	switch {
	case continues && d.fits(resp):
		d.resumed = true
		return nil
	case continues, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && d.tmp.size > 0:
		return errors.Join(&brokenError{errors.New("the server does not continue where it stopped")}, d.restart())
	case resp.StatusCode >= http.StatusInternalServerError:
		return d.afterStart(refusal(resp))
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return refusal(resp)
	}
	d.started = true
	d.total = resp.ContentLength
	d.validator = validatorOf(resp.Header)
	return d.restart()
}

// restart forgets the content.
func (d *download) restart() error {
	d.resumed, d.roomFor = false, 0
	if d.tmp.size == 0 {
		return nil
	}
	return d.tmp.reset()
}

// fits tells whether a 206 goes on exactly where we stopped.
func (d *download) fits(resp *http.Response) bool {
	spec, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes ")
	span, total, ok2 := strings.Cut(spec, "/")
	first, _, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 || first != strconv.FormatInt(d.tmp.size, 10) {
		return false
	}
	return d.total < 0 || total == "*" || total == strconv.FormatInt(d.total, 10)
}

// validatorOf is something that says the same file only if it is: a strong
// entity tag or a date.
func validatorOf(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// receive appends the body. Only waiting for the server counts as idle, not
// waiting for the disk.
func (d *download) receive(ctx context.Context, resp *http.Response, idle *time.Timer) error {
	buf := make([]byte, chunkBytes)
	for {
		idle.Reset(d.idle)
		n, err := resp.Body.Read(buf)
		idle.Stop()
		if writeErr := d.write(ctx, buf[:n]); writeErr != nil {
			return writeErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.broken(ctx, resp, err)
		}
	}
}

func (d *download) broken(ctx context.Context, resp *http.Response, err error) error {
	switch {
	case ctx.Err() != nil:
		return &brokenError{context.Cause(ctx)}
	case errors.Is(err, io.ErrUnexpectedEOF) && resp.ContentLength >= 0:
		return &brokenError{fmt.Errorf("%w: the server sent %d of %d bytes", errMismatch, d.tmp.size, d.total)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &brokenError{fmt.Errorf("IncompleteRead(%d bytes read)", d.tmp.size)}
	}
	return &brokenError{err}
}

// write appends to the temporary, and evicts if the disk gets full.
func (d *download) write(ctx context.Context, p []byte) error {
	if len(p) > 0 && d.tmp.size+int64(len(p)) > d.roomFor {
		if err := d.evictor.makeRoom(ctx, disk.Room{Bytes: int64(len(p)), Inodes: 1}); err != nil {
			return err
		}
		d.roomFor = d.tmp.size + roomStep
	}
	n, err := d.tmp.Write(p)
	if errors.Is(err, unix.ENOSPC) {
		if freed, evictErr := d.evictor.evict(ctx, disk.Room{Bytes: roomStep}); freed > 0 && evictErr == nil {
			_, err = d.tmp.Write(p[n:])
		}
	}
	d.high = max(d.high, d.tmp.size)
	return err
}
