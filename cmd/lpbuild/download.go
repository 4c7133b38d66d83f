package main

import (
	"context"
	"crypto/sha1" // the protocol names files by their SHA-1
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
	"lpbuildd/rpc/wire"
)

// output is the folder into which results are downloaded. Nothing is written
// outside it, whatever the builder calls its results.
type output struct {
	root *os.Root
}

// openOutput opens the folder, which is made if it is not there.
func openOutput(path string) (*output, error) {
	if err := os.MkdirAll(path, 0o755); err != nil { // results are for everyone
		return nil, fmt.Errorf("cannot use the output folder: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("cannot use the output folder: %w", err)
	}
	return &output{root: root}, nil
}

// close lets go of the folder.
func (o *output) close() { _ = o.root.Close() }

// download fetches a file of the builder's cache, and compares its SHA-1
// unless want is "". The file appears under its name only when it is complete.
// It returns where it is and how large.
func (o *output) download(ctx context.Context, c *client.Client, name, cached, want string) (path string, size int64, err error) {
	if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." {
		return "", 0, fmt.Errorf("cannot save the result %q: its name leads out of the output folder", name)
	}
	if err := o.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return "", 0, fmt.Errorf("cannot save the result %q: %w", name, err)
	}
	partial := filepath.Join(filepath.Dir(name), ".lpbuild-"+uuid.NewString())
	f, err := o.root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", 0, fmt.Errorf("cannot save the result %q: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("cannot save the result %q: %w", name, err), o.root.Remove(partial))
		}
	}()
	t := transfer{dst: f, hash: sha1.New()} // the protocol names files by their SHA-1
	err = errors.Join(t.run(ctx, c, cached), f.Close())
	if err != nil {
		return "", 0, err
	}
	if sum := hex.EncodeToString(t.hash.Sum(nil)); want != "" && sum != want {
		return "", 0, fmt.Errorf("what the builder sent has SHA-1 %s, not %s", sum, want)
	}
	return filepath.Join(o.root.Name(), name), t.done, o.root.Rename(partial, name)
}

// transfer is one download, which may take several attempts.
type transfer struct {
	dst  io.Writer
	hash hash.Hash
	done int64
}

// run copies the file, and resumes a few times where the connection broke.
func (t *transfer) run(ctx context.Context, c *client.Client, cached string) error {
	const attempts = 3
	var err error
	for range attempts {
		err = t.attempt(ctx, c, cached)
		if err == nil || ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// attempt copies what is missing.
func (t *transfer) attempt(ctx context.Context, c *client.Client, cached string) error {
	f, err := c.OpenFile(ctx, cached, t.done)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	n, err := io.Copy(io.MultiWriter(t.dst, t.hash), f)
	t.done += n
	if err == nil && f.Size >= 0 && t.done != f.Size {
		err = fmt.Errorf("got %d bytes of %d", t.done, f.Size)
	}
	return err
}

// fetchAll downloads the log, if there is one, and all results of a build that
// has ended. It returns the paths of the results.
func (a *app) fetchAll(ctx context.Context, c *client.Client, o *output, st buildd.Status, logName string) ([]string, error) {
	path, size, err := o.download(ctx, c, logName, wire.BuildLog, "")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		a.out.say("The builder has no log.")
	case err != nil:
		return nil, err
	default:
		a.out.emit(event{Event: "file", Name: wire.BuildLog, Path: path, Size: &size})
		a.out.say("log: %s", path)
	}
	var paths []string
	for _, name := range slices.Sorted(maps.Keys(st.FileMap)) {
		path, size, err := o.download(ctx, c, name, st.FileMap[name], st.FileMap[name])
		if err != nil {
			return paths, err
		}
		a.out.emit(event{Event: "file", Name: name, SHA1: st.FileMap[name], Path: path, Size: &size})
		a.out.result("%s", harmless(path))
		paths = append(paths, path)
	}
	return paths, nil
}
