package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// store keeps one result in the file cache. Nobody may be told of it before sync.
func (k *books) store(ctx context.Context, name string, content io.ReadCloser) (string, error) {
	defer func() { _ = content.Close() }()
	r, err := newResult(k, content)
	if err != nil {
		return "", storeError(name, err)
	}
	stored, err := k.batch.Store(ctx, r)
	if err != nil {
		return "", storeError(name, err)
	}
	k.stored.bytes += stored.Size
	k.addResult(name, stored)
	return stored.SHA1, nil
}

const (
	// maxResults is far more than any build has.
	maxResults = 250_000
	// roomStep is how much of a result is read between two looks at the disk.
	roomStep = 16 << 20
)

// result is one result while it is stored. It ends where it did when it was
// opened; one that changes meanwhile is an error.
type result struct {
	books   *books
	content io.Reader
	stat    func() (fs.FileInfo, error) // nil if its size is not known
	opened  fs.FileInfo
	read    int64
	looked  int64 // up to where there is room
}

// newResult checks what can be checked before the first byte is read.
func newResult(k *books, content io.Reader) (*result, error) {
	r := &result{books: k, content: content}
	if k.stored.count++; k.stored.count > maxResults {
		return nil, &limitError{what: fmt.Sprintf("it has more than %d results", maxResults), key: "of the builder"}
	}
	f, ok := content.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return r, nil
	}
	r.stat = f.Stat
	var err error
	if r.opened, err = r.stat(); err != nil {
		return nil, err
	}
	if !r.opened.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	return r, cmp.Or(r.allowed(r.opened.Size()), r.fits(r.opened.Size()))
}

// allowed says whether the result may have so many bytes.
func (r *result) allowed(size int64) error {
	if limit := r.books.settings.ResultLimit; limit > 0 && r.books.stored.bytes+size > limit {
		return &limitError{what: fmt.Sprintf("its results have more than %d bytes", limit), key: "[limits] results"}
	}
	return nil
}

// fits says whether the disk has room for so many bytes of the result.
func (r *result) fits(size int64) error {
	space, err := disk.Of(r.books.settings.FileCache)
	if err != nil {
		return err
	}
	if left := space.Free.Lacks(fullRoom().Plus(disk.Room{Bytes: size - r.read})); left != "" {
		return &verdict.HostFault{
			Err:    fmt.Errorf("%d bytes do not fit on the disk of the file cache, which has %s: %w", size, left, unix.ENOSPC),
			Advice: "Free disk space (and inodes) on the builder.",
		}
	}
	return nil
}

// Read implements io.Reader.
func (r *result) Read(p []byte) (int, error) {
	if r.stat == nil && r.read+int64(len(p)) > r.looked {
		r.looked = r.read + roomStep
		if err := r.fits(r.looked); err != nil {
			return 0, err
		}
	}
	if r.stat != nil {
		p = p[:min(int64(len(p)), r.opened.Size()-r.read)]
		if len(p) == 0 {
			return 0, r.end()
		}
	}
	n, err := r.content.Read(p)
	r.read += int64(n)
	if err := r.allowed(r.read); err != nil {
		return 0, err
	}
	if errors.Is(err, io.EOF) && r.stat != nil {
		err = nil
		if n == 0 {
			err = errChanged
		}
	}
	return n, err
}

// end is io.EOF if the file is what it was.
func (r *result) end() error {
	now, err := r.stat()
	if err != nil {
		return err
	}
	if now.Size() != r.opened.Size() || !now.ModTime().Equal(r.opened.ModTime()) {
		return errChanged
	}
	return io.EOF
}

// errChanged is the end of a result that something writes to.
var errChanged = errors.New("it was written to while it was gathered")

// storeError says whose fault it is that a result was not stored.
func storeError(name string, err error) error {
	err = fmt.Errorf("cannot store %s: %w", name, err)
	if errors.Is(err, errChanged) {
		return &verdict.BuildError{
			Outcome: verdict.PackageFail, Err: err,
			Advice: "Let the build end what it starts in the background before it ends itself.",
		}
	}
	return verdict.MarkHostFault(err)
}
