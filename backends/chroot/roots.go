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
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/backends/archive"
	"lpbuildd/buildd/verdict"
	"lpbuildd/disk"
)

// The folder of unpacked images holds, for each image with SHA-1 S:
//
//	S.root/chroot-autobuild   the unpacked image, never changed
//	S.root/complete           made when all of it is on disk
//	S.lock                    locked shared by builds that use the image, and
//	                          exclusively to unpack or delete it; its time
//	                          stamp is the last use. A second link to it, in the
//	                          folder of a kept chroot, keeps the image too
//
// The lock is exclusive from before unpacking until "complete" is there. A root that
// is not complete, and not locked either, is left from a crash.
const (
	rootSuffix = ".root"
	lockSuffix = ".lock"
	markerName = "complete"
)

// lockPoll is the pause between attempts to take a lock that another builder
// holds.
const lockPoll = 50 * time.Millisecond

// rootCache keeps unpacked images.
type rootCache struct {
	dir, trash string
	most       int
	log        *slog.Logger
}

// heldRoot is an unpacked image in use.
type heldRoot struct {
	dir  string
	lock *disk.SharedLock
	// synced is closed when nothing happens in the background any more.
	synced chan struct{}
}

// path is the root directory.
func (r *heldRoot) path() string { return filepath.Join(r.dir, topFolder) }

// release ends the use, after the image is on disk.
func (r *heldRoot) release() error {
	<-r.synced
	_ = r.touch()
	return r.lock.Close()
}

// touch notes that the image is used now.
func (r *heldRoot) touch() error { return os.Chtimes(r.lock.Path(), time.Time{}, time.Now()) }

// acquire returns the unpacked image, which it unpacks if need be, and deletes
// others that are too many.
func (c rootCache) acquire(ctx context.Context, image backends.Image) (*heldRoot, error) {
	if image.SHA1 == "" || strings.ContainsAny(image.SHA1, "/\x00") {
		return nil, fmt.Errorf("cannot use the image name %q: it must be a file name", image.SHA1)
	}
	if err := errors.Join(os.MkdirAll(c.dir, 0o700), os.Chmod(c.dir, 0o700)); err != nil { // a folder needs the x bit
		return nil, verdict.MarkHostFault(fmt.Errorf("cannot make the folder of unpacked images: %w", err))
	}
	return disk.Await(ctx, lockPoll, func() (*heldRoot, error) { return c.tryAcquire(ctx, image) })
}

// tryAcquire is disk.ErrLocked while another builder unpacks the same image.
func (c rootCache) tryAcquire(ctx context.Context, image backends.Image) (*heldRoot, error) {
	lock, err := disk.OpenSharedLock(filepath.Join(c.dir, image.SHA1+lockSuffix))
	if err != nil {
		return nil, verdict.MarkHostFault(fmt.Errorf("cannot lock an unpacked image: %w", err))
	}
	r := &heldRoot{dir: filepath.Join(c.dir, image.SHA1+rootSuffix), lock: lock, synced: make(chan struct{})}
	if err := c.hold(ctx, image, r); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return r, nil
}

// hold takes the lock of a root that is complete, or makes it so.
func (c rootCache) hold(ctx context.Context, image backends.Image, r *heldRoot) error {
	if err := r.lock.Share(); err != nil {
		return err
	}
	if r.lock.Names() == 0 {
		return disk.ErrLocked
	}
	if !r.complete() {
		if err := r.lock.Own(); err != nil {
			return err
		}
		// Another builder may have been faster, between the two locks.
		if !r.complete() {
			return c.unpack(ctx, image, r)
		}
		if err := r.lock.Share(); err != nil {
			return err
		}
	}
	close(r.synced)
	_ = r.touch()
	c.evict(ctx, image.SHA1)
	return nil
}

func (r *heldRoot) complete() bool {
	_, err := os.Lstat(filepath.Join(r.dir, markerName))
	return err == nil
}

// unpack fills the root, which is locked exclusively. It is usable at once,
// and by other builds when it is on disk.
func (c rootCache) unpack(ctx context.Context, image backends.Image, r *heldRoot) error {
	_ = r.touch()
	c.evict(ctx, image.SHA1)
	if err := discard(ctx, r.dir, c.trash); err != nil {
		return err
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot unpack the image: %w", err))
	}
	if err := unpackRoot(ctx, image, r.dir); err != nil {
		return errors.Join(err, discard(context.WithoutCancel(ctx), r.dir, c.trash))
	}
	go func() {
		defer close(r.synced)
		err := r.sync()
		if err == nil {
			err = r.lock.Share()
		}
		if err != nil {
			c.log.Warn("Unpacked image cannot be kept", "root", r.dir, "error", err)
		}
	}()
	return nil
}

// sync marks the root as complete when all of it is on disk.
func (r *heldRoot) sync() error {
	dir, err := os.Open(r.dir)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if err := unix.Syncfs(int(dir.Fd())); err != nil {
		return fmt.Errorf("cannot sync %s: %w", r.dir, err)
	}
	marker, err := os.OpenFile(filepath.Join(r.dir, markerName), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(marker.Close(), dir.Sync())
}

// evict deletes the least recently used images until, with the one that is needed
// now, no more than c.most are left. Images that are in use stay.
func (c rootCache) evict(ctx context.Context, needed string) {
	type candidate struct {
		name string
		used time.Time
	}
	var found []candidate
	for _, name := range c.names() {
		st, err := os.Stat(filepath.Join(c.dir, name+lockSuffix))
		if err == nil && name != needed {
			found = append(found, candidate{name, st.ModTime()})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int { return a.used.Compare(b.used) })
	for _, old := range found[:max(0, len(found)-max(0, c.most-1))] {
		if err := c.remove(ctx, old.name, false); err != nil && !errors.Is(err, disk.ErrLocked) {
			c.log.Warn("Unpacked image cannot be deleted", "image", old.name, "error", err)
		}
	}
}

// names lists the images of which there is anything.
func (c rootCache) names() []string {
	entries, _ := os.ReadDir(c.dir)
	var names []string
	for _, e := range entries {
		for _, suffix := range []string{rootSuffix, lockSuffix} {
			if name, ok := strings.CutSuffix(e.Name(), suffix); ok && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// remove deletes an image that nobody uses or keeps, or with torn only if it is not
// complete.
func (c rootCache) remove(ctx context.Context, name string, torn bool) (err error) {
	lock, err := disk.OpenSharedLock(filepath.Join(c.dir, name+lockSuffix))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := lock.Own(); err != nil {
		return err
	}
	if lock.Names() > 1 {
		return disk.ErrLocked
	}
	r := &heldRoot{dir: filepath.Join(c.dir, name+rootSuffix)}
	if lock.Names() == 0 || torn && r.complete() {
		return nil
	}
	if err := discard(ctx, r.dir, c.trash); err != nil {
		return err
	}
	return os.Remove(lock.Path())
}

// unpackRoot unpacks an image and checks that it is one.
func unpackRoot(ctx context.Context, image backends.Image, dir string) error {
	if err := archive.Unpack(ctx, image.Path, dir); err != nil {
		return err
	}
	st, err := os.Lstat(filepath.Join(dir, topFolder))
	if err != nil || !st.IsDir() {
		return fmt.Errorf("cannot use the image %s: it has no folder %s", image.Path, topFolder)
	}
	return nil
}

// outlive keeps the image for as long as there is another link to its lock, and
// returns its name.
func (r *heldRoot) outlive(link string) (string, error) {
	<-r.synced
	if !r.complete() {
		return "", errors.New("the unpacked base image did not reach the disk")
	}
	if err := os.Link(r.lock.Path(), link); err != nil {
		return "", fmt.Errorf("cannot keep the unpacked base image: %w", err)
	}
	return strings.TrimSuffix(filepath.Base(r.dir), rootSuffix), nil
}

// reuse holds an image that is unpacked.
func (c rootCache) reuse(name string) (*heldRoot, error) {
	r := &heldRoot{dir: filepath.Join(c.dir, name+rootSuffix), synced: make(chan struct{})}
	close(r.synced)
	if !r.complete() {
		return nil, fmt.Errorf("the unpacked base image %s is gone", name)
	}
	lock, err := disk.OpenSharedLock(filepath.Join(c.dir, name+lockSuffix))
	if err != nil {
		return nil, err
	}
	if err := lock.Share(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	r.lock = lock
	return r, nil
}

// CleanRoots deletes what interrupted unpacking has left in the folder of
// unpacked images. It leaves alone what a running build uses. A missing folder
// is fine.
func CleanRoots(ctx context.Context, dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c := rootCache{dir: dir, log: slog.New(slog.DiscardHandler)}
	var errs []error
	for _, name := range c.names() {
		err := c.remove(ctx, name, true)
		if err != nil && !errors.Is(err, disk.ErrLocked) {
			errs = append(errs, fmt.Errorf("cannot clean the unpacked image %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
