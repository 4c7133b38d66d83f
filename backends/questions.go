package backends

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// maxOutput is more than any answer takes: the names of a million files.
const maxOutput = 64 << 20

// Output runs a command and returns its standard output, of which more than 64
// MiB are an error: the programs of a target may say anything. Its Stdout is
// ignored.
func Output(ctx context.Context, r Runner, cmd Command) ([]byte, error) {
	var out bounded
	cmd.Stdout = &out
	err := r.Run(ctx, cmd)
	return out.data.Bytes(), err
}

// bounded takes at most maxOutput bytes.
type bounded struct{ data bytes.Buffer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.data.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("it is more than %d bytes", maxOutput)
	}
	return b.data.Write(p)
}

// ask is true when the command succeeds and false when it fails. An error is
// something else than an answer: ctx ended, or it could not be run.
func ask(ctx context.Context, r Runner, argv ...string) (bool, error) {
	err := r.Run(ctx, Command{Argv: argv})
	var exit *ExitError
	if errors.As(err, &exit) {
		return false, nil
	}
	return err == nil, err
}

// Exists tells whether a path exists, following symbolic links.
func Exists(ctx context.Context, r Runner, path string) (bool, error) {
	return ask(ctx, r, "test", "-e", path)
}

// IsDir tells whether a path is a folder, or a symbolic link to one.
func IsDir(ctx context.Context, r Runner, path string) (bool, error) {
	return ask(ctx, r, "test", "-d", path)
}

// IsLink tells whether a path is a symbolic link.
func IsLink(ctx context.Context, r Runner, path string) (bool, error) {
	return ask(ctx, r, "test", "-h", path)
}

// FindOptions limit what Find returns.
type FindOptions struct {
	// MaxDepth is how many folders deep to look; 0 means no limit, 1 only the
	// entries of the folder itself.
	MaxDepth int
	// NoDirs leaves folders out.
	NoDirs bool
	// Name is a pattern of find -name; "" matches all.
	Name string
}

// Find lists what is below a folder, as sorted paths relative to it (spec:
// backends.md section 1). The folder itself is not in the list.
func Find(ctx context.Context, r Runner, path string, opts FindOptions) ([]string, error) {
	argv := []string{"find", path, "-mindepth", "1"}
	if opts.MaxDepth > 0 {
		argv = append(argv, "-maxdepth", strconv.Itoa(opts.MaxDepth))
	}
	if opts.NoDirs {
		argv = append(argv, "!", "-type", "d")
	}
	if opts.Name != "" {
		argv = append(argv, "-name", opts.Name)
	}
	argv = append(argv, "-printf", `%P\0`)
	out, err := Output(ctx, r, Command{Argv: argv})
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", path, err)
	}
	if len(out) == 0 {
		return nil, nil
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	slices.Sort(names)
	return names, nil
}

// List returns the sorted names of everything in a folder.
func List(ctx context.Context, r Runner, path string) ([]string, error) {
	return Find(ctx, r, path, FindOptions{MaxDepth: 1})
}

// ReadFile returns the content of a regular file in the target. Files larger
// than limit bytes are an error. A missing file is fs.ErrNotExist.
func ReadFile(ctx context.Context, t Target, path string, limit int64) (data []byte, err error) {
	f, err := t.CopyOut(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if data, err = ReadAll(f, limit); err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, err)
	}
	return data, nil
}

// WriteFile makes path a file with this content, owned by root.
func WriteFile(ctx context.Context, t Target, path string, data []byte, mode fs.FileMode) error {
	return t.CopyIn(ctx, bytes.NewReader(data), path, mode)
}
