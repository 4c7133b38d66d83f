package chroot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lpbuildd/disk"
)

// Stock is where unpacked images and the trash are, see roots.go and trash.go.
type Stock struct {
	RootsDir, TrashDir string
	// MaxRoots is how many unpacked images may stay.
	MaxRoots int
}

// StockRoot is an unpacked image.
type StockRoot struct {
	// SHA1 is that of the image.
	SHA1 string
	// Bytes is what it takes on the disk.
	Bytes int64
	Used  time.Time
	// InUse says that somebody uses or unpacks it, Torn that a crash has left it
	// half unpacked.
	InUse, Torn bool
	// Excess says that the limits do not allow it.
	Excess bool
}

// ErrInUse reports an unpacked image that a build uses.
var ErrInUse = errors.New("a build uses it")

// Roots lists the unpacked images, the most recently used first. It changes
// nothing. A missing folder has none.
func (s Stock) Roots() ([]StockRoot, error) {
	if _, err := os.ReadDir(s.RootsDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the unpacked images: %w", err)
	}
	var all []StockRoot
	for _, name := range s.cache().names() {
		if r, ok := s.root(name); ok {
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b StockRoot) int { return b.Used.Compare(a.Used) })
	whole := 0
	for i, r := range all {
		if r.Torn {
			all[i].Excess = !r.InUse
			continue
		}
		whole++
		all[i].Excess = whole > s.MaxRoots && !r.InUse
	}
	return all, nil
}

func (s Stock) cache() rootCache {
	return rootCache{dir: s.RootsDir, trash: s.TrashDir, most: s.MaxRoots, log: slog.New(slog.DiscardHandler)}
}

// root looks at one image; false if there is nothing of it any more.
func (s Stock) root(name string) (StockRoot, bool) {
	lock := filepath.Join(s.RootsDir, name+lockSuffix)
	r := heldRoot{dir: filepath.Join(s.RootsDir, name+rootSuffix)}
	root, rootErr := os.Lstat(r.dir)
	st, err := os.Lstat(lock)
	if err != nil && rootErr != nil {
		return StockRoot{}, false
	}
	found := StockRoot{SHA1: name, Bytes: diskUsage(r.dir).Bytes, InUse: disk.Shared(lock), Torn: !r.complete()}
	switch {
	case err == nil:
		found.Used = st.ModTime()
	case rootErr == nil:
		found.Used = root.ModTime()
	}
	return found, true
}

// Collect deletes what the limits do not allow, what crashes have left, and the
// trash, and returns the images that are gone and what the trash held. What a
// build uses stays.
func (s Stock) Collect(ctx context.Context) (gone []StockRoot, trash int64, err error) {
	all, err := s.Roots()
	trash = s.Trash()
	for _, r := range all {
		if !r.Excess {
			continue
		}
		rmErr := s.cache().remove(ctx, r.SHA1, r.Torn)
		if errors.Is(rmErr, disk.ErrLocked) {
			continue
		}
		if rmErr != nil {
			err = errors.Join(err, fmt.Errorf("cannot delete the unpacked image %s: %w", r.SHA1, rmErr))
			continue
		}
		gone = append(gone, r)
	}
	return gone, trash, errors.Join(err, EmptyTrash(ctx, s.TrashDir))
}

// RemoveRoot deletes an unpacked image, unless a build uses it, which is
// ErrInUse. It returns how many bytes that frees. A missing one is fine.
func (s Stock) RemoveRoot(ctx context.Context, sha1 string) (int64, error) {
	if sha1 == "" || strings.ContainsAny(sha1, "/\x00") {
		return 0, fmt.Errorf("cannot use the image name %q: it must be a file name", sha1)
	}
	r, there := s.root(sha1)
	if !there {
		return 0, nil
	}
	err := s.cache().remove(ctx, sha1, false)
	if errors.Is(err, disk.ErrLocked) {
		return 0, fmt.Errorf("cannot delete the unpacked image %s: %w", sha1, ErrInUse)
	}
	return r.Bytes, errors.Join(err, EmptyTrash(ctx, s.TrashDir))
}

// Trash is how many bytes the trash takes on the disk.
func (s Stock) Trash() int64 {
	var total int64
	entries, _ := os.ReadDir(s.TrashDir) // a missing one is empty
	for _, e := range entries {
		total += diskUsage(filepath.Join(s.TrashDir, e.Name())).Bytes
	}
	return total
}

// diskUsage is what a folder takes on the disk, files with several names counted
// once. What vanishes meanwhile, or cannot be read, does not count.
func diskUsage(path string) disk.Room {
	var total disk.Room
	seen := map[uint64]bool{}
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		info, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // see above
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && !e.IsDir() && seen[st.Ino] {
			return nil
		}
		seen[st.Ino] = true
		total = total.Plus(disk.Room{Bytes: disk.Allocated(st), Inodes: 1})
		return nil
	})
	return total
}
