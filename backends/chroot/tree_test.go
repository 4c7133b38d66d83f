package chroot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// nest makes folders in each other, deeper than any path can name.
func nest(t *testing.T, top string, depth int) {
	t.Helper()
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	check(t, err)
	name := strings.Repeat("n", 200)
	for range depth {
		check(t, unix.Mkdirat(fd, name, 0o700))
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		check(t, errors.Join(err, unix.Close(fd)))
		fd = sub
	}
	f, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	check(t, errors.Join(err, unix.Close(f), unix.Close(fd)))
}

func TestRemoveTree(t *testing.T) {
	for name, fill := range map[string]func(t *testing.T, path string){
		"a missing path":  func(*testing.T, string) {},
		"a file":          func(t *testing.T, path string) { t.Helper(); check(t, os.WriteFile(path, []byte("x"), 0o600)) },
		"an empty folder": func(t *testing.T, path string) { t.Helper(); check(t, os.Mkdir(path, 0o700)) },
		"many files": func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Mkdir(path, 0o700))
			for i := range 3000 {
				check(t, os.WriteFile(filepath.Join(path, "f"+strings.Repeat("x", i%100)+string(rune('a'+i/100))), nil, 0o600))
			}
		},
		"folders deeper than a path can be": func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Mkdir(path, 0o700))
			nest(t, path, 1000)
		},
		"a fifo and a dangling link": func(t *testing.T, path string) {
			t.Helper()
			check(t, os.Mkdir(path, 0o700))
			check(t, unix.Mkfifo(filepath.Join(path, "fifo"), 0o600))
			check(t, os.Symlink("/no/such/file", filepath.Join(path, "link")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tree")
			fill(t, path)
			check(t, RemoveTree(t.Context(), path))
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

func TestRemoveTreeFollowsNoLinks(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "keep")
	check(t, os.MkdirAll(filepath.Join(keep, "sub"), 0o700))
	tree := filepath.Join(dir, "tree")
	check(t, os.Mkdir(tree, 0o700))
	check(t, os.Symlink(keep, filepath.Join(tree, "link")))
	check(t, os.Symlink(keep, filepath.Join(dir, "toplink")))
	check(t, errors.Join(RemoveTree(t.Context(), tree), RemoveTree(t.Context(), filepath.Join(dir, "toplink"))))
	if _, err := os.Stat(filepath.Join(keep, "sub")); err != nil {
		t.Error(err)
	}
}

func TestRemoveTreeStopsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tree")
	check(t, os.MkdirAll(filepath.Join(path, "sub"), 0o700))
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	cancel(want)
	if err := RemoveTree(ctx, path); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestImmutableFilesAreRemoved(t *testing.T) {
	for name, immutable := range map[string][]string{
		"a file": {"sub/file"}, "a folder": {"sub"}, "both": {"sub/file", "sub"}, "all": {"sub/file", "sub", "."},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tree")
			check(t, os.MkdirAll(filepath.Join(path, "sub"), 0o700))
			check(t, os.WriteFile(filepath.Join(path, "sub", "file"), nil, 0o600))
			for _, name := range immutable {
				f, err := os.Open(filepath.Join(path, name))
				check(t, err)
				t.Cleanup(func() {
					clearFlags(f) // or nobody could delete it
					_ = f.Close()
				})
				if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, unix.STATX_ATTR_IMMUTABLE); err != nil {
					t.Skipf("needs root and a file system with attributes: %v", err)
				}
			}
			if err := os.RemoveAll(path); !errors.Is(err, unix.EPERM) {
				t.Fatalf("it is not immutable: %v", err)
			}
			check(t, RemoveTree(t.Context(), path))
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
		})
	}
}

func TestTrash(t *testing.T) {
	dir := t.TempDir()
	trash := filepath.Join(dir, "trash")
	for range 3 {
		tree := filepath.Join(dir, "tree")
		check(t, os.MkdirAll(filepath.Join(tree, "sub"), 0o700))
		check(t, errors.Join(discard(t.Context(), tree, trash), discard(t.Context(), tree, trash)))
		if _, err := os.Lstat(tree); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	}
	entries, err := os.ReadDir(trash)
	if check(t, err); len(entries) != 3 {
		t.Errorf("got %d entries in the trash", len(entries))
	}
	check(t, EmptyTrash(t.Context(), trash))
	entries, err = os.ReadDir(trash)
	if check(t, err); len(entries) != 0 {
		t.Errorf("got %d entries in the emptied trash", len(entries))
	}
	check(t, EmptyTrash(t.Context(), filepath.Join(dir, "none")))
	tree := filepath.Join(dir, "tree")
	check(t, os.MkdirAll(filepath.Join(tree, "sub"), 0o700))
	check(t, discard(t.Context(), tree, ""))
}

// TestManyDeleteOneTree is what happens when the trash is emptied by several.
func TestManyDeleteOneTree(t *testing.T) {
	for range 20 {
		top := filepath.Join(t.TempDir(), "top")
		for i := range 20 {
			dir := filepath.Join(top, strings.Repeat("d", i+1), "a/b/c")
			check(t, os.MkdirAll(dir, 0o700))
			check(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
		}
		results := make(chan error, 8)
		for range 8 {
			go func() { results <- RemoveTree(t.Context(), top) }()
		}
		for range 8 {
			check(t, <-results)
		}
		if _, err := os.Lstat(top); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("it is still there: %v", err)
		}
	}
}
