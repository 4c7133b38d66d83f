package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

const (
	// maxResults is far more than any build has.
	maxResults = 250_000
	// roomStep is how much of a result is read between two looks at the disk.
	roomStep = 16 << 20
)

// gather stores every result in the file cache. What the build has left running
// could change them meanwhile, so it goes first.
func gather(ctx context.Context, b *build) error {
	b.reaper.endStrays(ctx)
	err := b.builder.Gather(ctx, b.env, func(name string, content io.ReadCloser) error {
		_, err := b.books.store(ctx, name, content)
		return err
	})
	err = b.books.sync(err)
	if err != nil && ctx.Err() == nil {
		b.voice.say("Failed to gather results: %v", err)
	}
	return err
}

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

// endStrays kills what runs in the container and is no service of it: the
// services are needed to get results out. It returns the names of the dead.
func (c *container) endStrays(ctx context.Context) (string, error) {
	const script = `grep -q /init.scope /proc/1/cgroup || exit 0
for p in /proc/[0-9]*; do
  pid=${p#/proc/}
  if [ "$pid" = 1 ] || [ "$pid" = $$ ]; then continue; fi
  case $(cat "$p/cgroup" 2>/dev/null) in ''|*.service*|*/init.scope*) continue ;; esac
  name=$(cat "$p/comm" 2>/dev/null)
  kill -KILL "$pid" 2>/dev/null && echo "$pid ($name)"
done
exit 0`
	out, err := backends.Output(ctx, c, backends.Command{Argv: []string{"/bin/sh", "-c", script}})
	if err != nil {
		return "", fmt.Errorf("cannot end what the build has left running: %w", err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ", "), nil
}
