package filecache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

// Owner is the user and the group that new files are given to.
type Owner struct{ UID, GID int }

// folder is the cache folder, without regard to what its files mean: it opens,
// makes and lists them, and knows whose new ones are.
type folder struct {
	dir   string // absolute
	root  *os.Root
	owner *Owner // nil if this process may not give files away
}

// openFolder opens a folder, which must exist, and makes what the cache needs
// inside it. Owner may be nil: see Options.
func openFolder(dir string, owner *Owner) (*folder, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the file cache: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the file cache %s: %w", dir, err)
	}
	f := &folder{dir: dir, root: root}
	if err := f.prepare(owner); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot prepare the file cache %s: %w", dir, err), root.Close())
	}
	return f, nil
}

func (f *folder) prepare(owner *Owner) error {
	if os.Geteuid() == 0 {
		if err := f.findOwner(owner); err != nil {
			return err
		}
	}
	for _, name := range []string{stateName, tmpName, metaName} {
		if err := f.makeFolder(name); err != nil {
			return err
		}
	}
	return nil
}

func (f *folder) findOwner(given *Owner) error {
	if f.owner = given; f.owner != nil {
		return nil
	}
	info, err := f.root.Stat(".")
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.owner = &Owner{UID: int(st.Uid), GID: int(st.Gid)}
	}
	return nil
}

func (f *folder) makeFolder(name string) error {
	err := f.root.Mkdir(name, 0o700)
	if err == nil && f.owner != nil {
		return f.root.Lchown(name, f.owner.UID, f.owner.GID)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := f.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", filepath.Join(f.dir, name))
	}
	return nil
}

// create makes a file that belongs to the owner of the cache.
func (f *folder) create(path string) (*os.File, error) {
	file, err := f.root.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if f.owner != nil {
		err = file.Chown(f.owner.UID, f.owner.GID)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), f.root.Remove(path))
	}
	return file, nil
}

// open opens a regular file at the top and nothing else; whatever is no regular
// file does not exist.
func (f *folder) open(name string) (*os.File, fs.FileInfo, error) {
	// os.Root would follow a symbolic link; the name is a single component.
	path := filepath.Join(f.dir, name)
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

// each calls do for everything in a folder of the cache and joins the errors.
func (f *folder) each(name string, do func(fs.DirEntry) error) error {
	d, err := f.root.Open(name)
	if err != nil {
		return fmt.Errorf("cannot list the file cache: %w", err)
	}
	list, err := d.ReadDir(-1)
	err = errors.Join(err, d.Close())
	for _, e := range list {
		if doErr := do(e); doErr != nil && !errors.Is(doErr, os.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("cannot clean the file cache: %w", doErr))
		}
	}
	return err
}

// sync brings new names to the disk.
func (f *folder) sync() error { return disk.Sync(f.root.Open(".")) }

// syncAll brings all of the file system to the disk.
func (f *folder) syncAll() error {
	d, err := f.root.Open(".")
	if err != nil {
		return fmt.Errorf("cannot bring the file cache to the disk: %w", err)
	}
	defer func() { _ = d.Close() }()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("cannot bring the file cache to the disk: %w", err)
	}
	return nil
}
