package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// openResults begins the file in the build's folder that names, a line each, what
// the build has brought into the file cache, from before it is there. There may
// be a hundred thousand of them, so it does not go to the disk at once like the
// ledger: a machine that crashes may lose it, and then leaves files in the cache
// that are checked and evicted like all others.
//
// What an earlier build has brought had an outcome, or was removed.
func (b *build) openResults() (err error) {
	path := b.dir.Results()
	if err := disk.Remove(path); err != nil {
		return err
	}
	b.resultList, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	b.batch = b.cache.NewBatch()
	return err
}

// noteResult is called before something new gets its name in the cache.
func (b *build) noteResult(name string) error {
	_, err := b.resultList.WriteString(name + "\n")
	return err
}

// closeResults forgets the list if the outcome is written: from then on the
// results are the daemon's.
func (b *build) closeResults() error {
	if b.resultList == nil {
		return nil
	}
	err := b.resultList.Close()
	if b.unwritten == nil {
		err = errors.Join(err, disk.Remove(b.resultList.Name()))
	}
	return err
}

// store keeps one result in the file cache. Nobody may be told of it before
// settle.
func (b *build) store(ctx context.Context, name string, content io.ReadCloser) (string, error) {
	defer func() { _ = content.Close() }()
	r, err := b.newResult(content)
	if err != nil {
		return "", storeError(name, err)
	}
	stored, err := b.batch.Store(ctx, r)
	if err != nil {
		return "", storeError(name, err)
	}
	b.stored.bytes += stored.Size
	b.addResult(name, stored)
	return stored.SHA1, nil
}

// settle returns when all results are on the disk. If they are not, there are
// none.
func (b *build) settle() error {
	if b.batch == nil {
		return nil
	}
	err := b.batch.Sync()
	if err == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.results)
	return &verdict.HostFault{
		Err:    fmt.Errorf("the results did not reach the disk: %w", err),
		Advice: "Check the disk of the file cache.",
	}
}

// settled is the error of a stage that stored results.
func (b *build) settled(err error) error {
	if lost := b.settle(); lost != nil {
		return errors.Join(err, lost)
	}
	return err
}
