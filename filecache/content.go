package filecache

import (
	"context"
	"crypto/sha1" // the protocol names files by SHA-1; SHA-256 is recorded beside it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"sync"
)

// Stored describes content that was put into the cache.
type Stored struct {
	SHA1   string `json:"sha1"`
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// New is false if the cache had the content before.
	New bool `json:"-"`
}

// sums hashes with both functions in one pass.
type sums struct {
	sha1, sha256 hash.Hash
	size         int64
}

func newSums() *sums {
	return &sums{sha1: sha1.New(), sha256: sha256.New()} // the protocol names files by SHA-1
}

// Write never fails.
func (s *sums) Write(p []byte) (int, error) {
	s.sha1.Write(p)
	s.sha256.Write(p)
	s.size += int64(len(p))
	return len(p), nil
}

func (s *sums) stored() Stored {
	return Stored{
		SHA1: hex.EncodeToString(s.sha1.Sum(nil)), SHA256: hex.EncodeToString(s.sha256.Sum(nil)),
		Size: s.size,
	}
}

const chunkBytes = 256 << 10

// chunks are buffers that are used again: many files are far smaller.
var chunks = sync.Pool{New: func() any { return new([chunkBytes]byte) }}

// copyChunks is io.Copy that ends with its context and never needs more memory
// than one chunk.
func copyChunks(ctx context.Context, w io.Writer, r io.Reader) error {
	chunk := chunks.Get().(*[chunkBytes]byte)
	defer chunks.Put(chunk)
	buf := chunk[:]
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}
