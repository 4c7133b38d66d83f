package filecache

import (
	"context"
	"io"
	"sync"
)

// fewFiles of a batch are brought to the disk one by one, which does not wait
// for what else is to be written there. Many share one go.
const fewFiles = 32

// Batch stores files that nobody needs to know of before all of them are there.
// All methods may be called from several goroutines at once.
type Batch struct {
	store *store

	mu      sync.Mutex
	stored  int   // guarded by mu
	pending bool  // guarded by mu
	err     error // guarded by mu
}

// NewBatch begins one.
func (c *Cache) NewBatch() *Batch { return &Batch{store: c.store} }

// Store is that of the cache, but a crash of the machine may leave the entry with
// other content, or none, until Sync has returned.
func (b *Batch) Store(ctx context.Context, content io.Reader) (Stored, error) {
	durable := b.begin()
	s, err := b.store.put(ctx, content, durable)
	if !durable {
		b.mu.Lock()
		b.pending = true
		b.mu.Unlock()
	}
	return s, err
}

// begin says whether the next file goes to the disk by itself.
func (b *Batch) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored++
	return b.stored <= fewFiles
}

// Sync returns when everything is on the disk. Once it has failed, it always
// does: the kernel tells of a lost write only once.
func (b *Batch) Sync() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending && b.err == nil {
		b.err = b.store.folder.syncAll()
		b.pending = false
	}
	return b.err
}
