package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"lpbuildd/backends"
)

// AddFile puts a file into the target without a line in the transcript.
func (t *Target) AddFile(name, data string, mode fs.FileMode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files[path.Clean(name)] = File{data, mode}
}

// RemoveFile takes a file away; commands scripted with Do may use it.
func (t *Target) RemoveFile(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.files, path.Clean(name))
}

// File returns a file of the target, if it is there.
func (t *Target) File(name string) (File, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.files[path.Clean(name)]
	return f, ok
}

// CopyIn implements backends.Target.
func (t *Target) CopyIn(ctx context.Context, content io.Reader, name string, mode fs.FileMode) error {
	data, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.AddFile(name, string(data), mode)
	t.record(fmt.Sprintf("copy in %s %#o", name, mode), text(string(data)))
	return nil
}

// CopyOut implements backends.Target.
func (t *Target) CopyOut(ctx context.Context, name string) (io.ReadCloser, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t.record("copy out "+name, nil)
	f, ok := t.File(name)
	if !ok {
		return nil, fmt.Errorf("cannot read %s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader([]byte(f.Data))), nil
}

// builtin answers the questions of package backends.
func (t *Target) builtin(argv []string) Answer {
	switch {
	case len(argv) == 3 && argv[0] == "test":
		return t.test(argv[1], path.Clean(argv[2]))
	case len(argv) > 3 && argv[0] == "find" && argv[2] == "-mindepth":
		return t.find(argv[1], argv[4:])
	case len(argv) == 3 && argv[0] == "ls" && argv[1] == "-Ap":
		return t.list(argv[2])
	}
	return Answer{}
}

func (t *Target) test(flag, name string) Answer {
	_, isFile := t.File(name)
	isDir := len(t.below(name)) > 0
	if flag == "-e" && (isFile || isDir) || flag == "-d" && isDir {
		return Answer{}
	}
	return Answer{Code: 1}
}

// below lists the files in a folder, as sorted paths relative to it.
func (t *Target) below(dir string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	prefix := strings.TrimSuffix(path.Clean(dir), "/") + "/"
	var names []string
	for name := range maps.Keys(t.files) {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names
}

// find understands the arguments of backends.Find.
func (t *Target) find(dir string, args []string) Answer {
	files := t.below(dir)
	if len(files) == 0 {
		return Answer{Code: 1, Stderr: "find: no such folder\n"}
	}
	depth, pattern := 1<<30, "*"
	noDirs := slices.Contains(args, "!") || strings.Contains(strings.Join(args, " "), "-type f")
	for i, arg := range args {
		switch arg {
		case "-maxdepth":
			depth, _ = strconv.Atoi(args[i+1])
		case "-name":
			pattern = args[i+1]
		}
	}
	var found []string
	for _, name := range withFolders(files) {
		match, _ := path.Match(pattern, path.Base(name))
		if match && strings.Count(name, "/") < depth && (!noDirs || slices.Contains(files, name)) {
			found = append(found, name)
		}
	}
	return Answer{Stdout: strings.Join(found, "\x00")}
}

// list is ls -Ap.
func (t *Target) list(dir string) Answer {
	var out strings.Builder
	files := t.below(dir)
	for _, name := range withFolders(files) {
		switch {
		case strings.Contains(name, "/"):
		case slices.Contains(files, name):
			fmt.Fprintln(&out, name)
		default:
			fmt.Fprintln(&out, name+"/")
		}
	}
	return Answer{Stdout: out.String()}
}

// withFolders adds the folders that files are in.
func withFolders(files []string) []string {
	seen := map[string]bool{}
	for _, name := range files {
		for ; name != "."; name = path.Dir(name) {
			seen[name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

var _ backends.Target = (*Target)(nil)
