package debian

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/builders"
)

func TestChrootName(t *testing.T) {
	safe := regexp.MustCompile(`^build-[A-Za-z0-9_-]{1,122}$`)
	seen := map[string]string{}
	for id, want := range map[string]string{
		"PACKAGEBUILD-90015":     "build-PACKAGEBUILD-90015",
		"a_b":                    "build-a_b",
		"a.b":                    "build-a_b-",
		"a/b":                    "build-a_b-",
		"x]\ntype=directory":     "build-x__type_directory-",
		"ü":                      "build-_-",
		strings.Repeat("x", 255): "build-" + strings.Repeat("x", 100) + "-",
	} {
		t.Run(id, func(t *testing.T) {
			got := chrootName(id)
			if got != want && (!strings.HasSuffix(want, "-") || !strings.HasPrefix(got, want)) {
				t.Errorf("got %q, want %q", got, want)
			}
			if !safe.MatchString(got) {
				t.Errorf("schroot does not take the name %q", got)
			}
			if other, ok := seen[got]; ok {
				t.Errorf("%q and %q are both called %q", id, other, got)
			}
			seen[got] = id
		})
	}
}

func TestWithEntry(t *testing.T) {
	const entry = "sbuild:x:102:105::/:/bin/sh"
	for _, c := range []struct{ name, old, want string }{
		{"added", "root:x:0:0\n", "root:x:0:0\n" + entry + "\n"},
		{"there already", "root:x:0:0\n" + entry + "\n", "root:x:0:0\n" + entry + "\n"},
		{"other ids", "sbuild:x:1:1::\nroot:x:0:0\n", entry + "\nroot:x:0:0\n"},
		{"twice", entry + "\nsbuild:x:1:1::\n", entry + "\n"},
		{"no line end", "root:x:0:0", "root:x:0:0\n" + entry + "\n"},
		{"a longer name", "sbuilder:x:1:1::\n", "sbuilder:x:1:1::\n" + entry + "\n"},
		{"an empty file", "", entry + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := withEntry(c.old, entry); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

const sampleChanges = `Format: 1.8
Source: foo
Checksums-Sha1:
 da39a3ee5e6b4b0d3255bfef95601890afd80709 3 other.deb
Files:
 d41d8cd98f00b204e9800998ecf8427e 3 misc optional foo_1_i386.deb
 d41d8cd98f00b204e9800998ecf8427e 3 misc optional foo-data_1_all.deb
 d41d8cd98f00b204e9800998ecf8427e 3 misc optional foo_1_i386.deb
Description:
 not a file
`

func TestOnlySignalsAreCalledSignals(t *testing.T) {
	for code, want := range map[int]string{
		4: "sbuild ended with exit code 4", 128: "sbuild ended with exit code 128", 255: "sbuild ended with exit code 255",
		128 + 9: "sbuild was killed by signal 9", 128 + 64: "sbuild was killed by signal 64",
	} {
		if got := builderTrouble(code).Error(); got != want {
			t.Errorf("%d: got %q, want %q", code, got, want)
		}
	}
}

func TestGatherChanges(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(t *testing.T, dir string)
		want    []string
		err     string
	}{
		{"all there", func(*testing.T, string) {}, []string{"foo_1_i386.changes", "foo_1_i386.deb", "foo-data_1_all.deb"}, ""},
		{
			"no .changes file", func(t *testing.T, dir string) { remove(t, dir, "foo_1_i386.changes") },
			nil, "foo_1_i386.changes: the build succeeded without making it",
		},
		{
			"a listed file is missing", func(t *testing.T, dir string) { remove(t, dir, "foo_1_i386.deb") },
			[]string{"foo_1_i386.changes"},
			"cannot gather foo_1_i386.deb",
		},
		{
			"a path", func(t *testing.T, dir string) {
				write(t, dir, "foo_1_i386.changes", "Files:\n x 3 misc optional ../../etc/passwd\n")
			},
			[]string{"foo_1_i386.changes"},
			"../../etc/passwd: expected a single path component",
		},
		{
			"a symbolic link", func(t *testing.T, dir string) {
				remove(t, dir, "foo_1_i386.deb")
				if err := os.Symlink("/etc/passwd", filepath.Join(dir, "foo_1_i386.deb")); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"foo_1_i386.changes"},
			"cannot gather foo_1_i386.deb: it is a symbolic link",
		},
		{
			"a folder", func(t *testing.T, dir string) {
				remove(t, dir, "foo_1_i386.deb")
				if err := os.Mkdir(filepath.Join(dir, "foo_1_i386.deb"), 0o700); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"foo_1_i386.changes"},
			"it is no regular file",
		},
		{
			"a pipe that nobody writes to", func(t *testing.T, dir string) {
				remove(t, dir, "foo_1_i386.deb")
				if err := syscall.Mkfifo(filepath.Join(dir, "foo_1_i386.deb"), 0o600); err != nil {
					t.Fatal(err)
				}
			},
			[]string{"foo_1_i386.changes"},
			"cannot gather foo_1_i386.deb: it is no regular file",
		},
		{
			"a socket", func(t *testing.T, dir string) {
				remove(t, dir, "foo_1_i386.deb")
				t.Chdir(dir) // names of sockets are short
				var config net.ListenConfig
				socket, err := config.Listen(t.Context(), "unix", "foo_1_i386.deb")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = socket.Close() })
			},
			[]string{"foo_1_i386.changes"},
			"cannot gather foo_1_i386.deb: ",
		},
		{
			"a device", func(t *testing.T, dir string) {
				remove(t, dir, "foo_1_i386.deb")
				if err := syscall.Mknod(filepath.Join(dir, "foo_1_i386.deb"), syscall.S_IFCHR|0o600, 1<<8|5); err != nil {
					t.Skipf("needs root: %v", err)
				}
			},
			[]string{"foo_1_i386.changes"},
			"cannot gather foo_1_i386.deb: ",
		},
		{
			"a line without end", func(t *testing.T, dir string) {
				write(t, dir, "foo_1_i386.changes", "Files:\n "+strings.Repeat("x", 1<<20))
			},
			nil, "cannot read foo_1_i386.changes",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "foo_1_i386.changes", sampleChanges)
			write(t, dir, "foo_1_i386.deb", "deb")
			write(t, dir, "foo-data_1_all.deb", "all")
			c.prepare(t, dir)
			b := &binaryPackage{dsc: "foo_1.dsc"}
			var got []string
			err := b.Gather(t.Context(), builders.Env{Job: builders.Job{Dir: dir}, Common: builders.Common{ABI: "i386"}},
				func(name string, content io.ReadCloser) error {
					got = append(got, name)
					return content.Close()
				})
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("the cache is full", func(t *testing.T) {
		dir := t.TempDir()
		write(t, dir, "a.changes", "Files:\n")
		full := errors.New("disk full")
		err := gatherChanges(t.Context(), dir, "a.changes", func(_ string, c io.ReadCloser) error { return errors.Join(full, c.Close()) })
		if !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
	})
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}
