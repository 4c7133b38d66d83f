package backendtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"lpbuildd/backends"
)

func testFiles(t *testing.T, factory Factory) {
	target := started(t, factory)
	t.Run("content, owner and mode arrive", func(t *testing.T) {
		for _, mode := range []fs.FileMode{0o644, 0o755, 0o600, 0o444, 0} {
			path := fmt.Sprintf("/tmp/mode-%o", mode)
			copyIn(t, target, path, "data", mode)
			got := output(t, target, "stat -c '%a %u %g %s' "+path)
			if want := fmt.Sprintf("%o 0 0 4\n", mode); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
	t.Run("an empty file works", func(t *testing.T) {
		copyIn(t, target, "/tmp/empty", "", 0o644)
		if got := readFile(t, target, "/tmp/empty"); got != "" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a file is replaced, its old copy stays as it was", func(t *testing.T) {
		output(t, target, "echo old >/tmp/f; ln /tmp/f /tmp/hard")
		copyIn(t, target, "/tmp/f", "new", 0o644)
		if got := output(t, target, "cat /tmp/f /tmp/hard; ls -A /tmp | grep lpbuildd; true"); got != "newold\n" {
			t.Errorf("got %q", got)
		}
	})
	t.Run("a big file goes in and out", func(t *testing.T) { testBigFile(t, target) })
	t.Run("a missing file is fs.ErrNotExist", func(t *testing.T) {
		for _, path := range []string{"/no", "/no/such", "/tmp/no"} {
			if _, err := target.CopyOut(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v", path, err)
			}
		}
	})
	t.Run("only regular files come out", func(t *testing.T) {
		for _, path := range []string{"/tmp", "/dev/null", "relative", ""} {
			if f, err := target.CopyOut(t.Context(), path); err == nil {
				t.Errorf("%q could be opened", path)
				_ = f.Close()
			}
		}
	})
	t.Run("what cannot be a file is refused", func(t *testing.T) {
		for _, path := range []string{"/no/such/folder/f", "/tmp", "/", "/tmp/..", "relative", "", "/etc/passwd/f"} {
			if err := backends.WriteFile(t.Context(), target, path, nil, 0o644); err == nil {
				t.Errorf("%q could be written", path)
			}
		}
	})
	t.Run("a failing source leaves nothing", func(t *testing.T) {
		want := errors.New("broken source")
		err := target.CopyIn(t.Context(), io.MultiReader(io.LimitReader(zeros{}, 1<<20), failing{want}), "/build/f", 0o644)
		if !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		if got := output(t, target, "ls -A /build"); got != "" {
			t.Errorf("left are %q", got)
		}
	})
	t.Run("an ended context ends copying", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		want := errors.New("enough")
		cancel(want)
		if err := target.CopyIn(ctx, zeros{}, "/tmp/zeros", 0o644); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
	})
}

func testBigFile(t *testing.T, target backends.Target) {
	const size = 64 << 20
	sum := sha256.New()
	source := io.TeeReader(io.LimitReader(&counter{}, size), sum)
	check(t, target.CopyIn(t.Context(), source, "/tmp/big", 0o644))
	f, err := target.CopyOut(t.Context(), "/tmp/big")
	check(t, err)
	back := sha256.New()
	n, err := io.Copy(back, f)
	if err := errors.Join(err, f.Close()); err != nil || n != size || string(back.Sum(nil)) != string(sum.Sum(nil)) {
		t.Errorf("got %d bytes back, %v", n, err)
	}
}

// testLinks plants links that would lead to files of the host if they were
// resolved there.
func testLinks(t *testing.T, factory Factory) {
	target := started(t, factory)
	host := t.TempDir()
	secret := filepath.Join(host, "secret")
	check(t, os.WriteFile(secret, []byte("of the host"), 0o600))
	up := "../../../../../../../../../../../../.."
	output(t, target, "ln -s "+secret+" /tmp/abs; ln -s "+up+secret+" /tmp/rel; ln -s "+host+" /tmp/dir; ln -s "+up+host+" /tmp/reldir;"+
		"ln -s /proc/1/root"+secret+" /tmp/magic; ln -s /proc/self/cwd"+secret+" /tmp/cwd")
	t.Run("nothing of the host comes out", func(t *testing.T) {
		for _, path := range []string{"/tmp/abs", "/tmp/rel", "/tmp/dir/secret", "/tmp/reldir/secret", "/tmp/magic", "/tmp/cwd", up + secret, "/tmp/" + up + secret} {
			if f, err := target.CopyOut(t.Context(), path); err == nil {
				t.Errorf("%s could be read", path)
				_ = f.Close()
			}
		}
	})
	t.Run("nothing of the host is overwritten", func(t *testing.T) {
		for _, path := range []string{"/tmp/abs", "/tmp/rel"} {
			copyIn(t, target, path, "mine", 0o644)
			if got := output(t, target, "test -h "+path+" || cat "+path); got != "mine" {
				t.Errorf("%s: the link was not replaced: %q", path, got)
			}
		}
		for _, path := range []string{"/tmp/dir/secret", "/tmp/reldir/secret", "/tmp/dir/new", "/tmp/reldir/new"} {
			if err := backends.WriteFile(t.Context(), target, path, []byte("mine"), 0o644); err == nil {
				t.Errorf("%s could be written", path)
			}
		}
		entries, err := os.ReadDir(host)
		check(t, err)
		if data, err := os.ReadFile(secret); err != nil || string(data) != "of the host" || len(entries) != 1 {
			t.Errorf("the host's folder has changed: %q, %v", data, err)
		}
	})
	t.Run("links within the target are followed in folders and when reading", func(t *testing.T) {
		output(t, target, "mkdir /var/real; ln -s /var/real /tmp/inner; echo inside >/var/real/f; ln -s ../real/f /var/real/l")
		copyIn(t, target, "/tmp/inner/g", "there", 0o644)
		if got := output(t, target, "cat /var/real/g") + readFile(t, target, "/tmp/inner/l"); got != "thereinside\n" {
			t.Errorf("got %q", got)
		}
	})
}

// zeros never ends.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// failing fails.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// counter is content that differs everywhere.
type counter struct{ n uint64 }

// Read implements io.Reader.
func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n = c.n*6364136223846793005 + 1442695040888963407
		p[i] = byte(c.n >> 56)
	}
	return len(p), nil
}

func copyIn(t *testing.T, target backends.Target, path, data string, mode fs.FileMode) {
	t.Helper()
	check(t, backends.WriteFile(t.Context(), target, path, []byte(data), mode))
}

func readFile(t *testing.T, target backends.Target, path string) string {
	t.Helper()
	data, err := backends.ReadFile(t.Context(), target, path, 1<<20)
	check(t, err)
	return string(data)
}
