package builders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"lpbuildd/backends"
)

// Products lists the regular files directly in a folder of the target whose
// names end in one of the suffixes, sorted. Folders, links and special files
// are no products (weakness O7). The folder itself may be a link: "/." is where
// it leads.
func Products(ctx context.Context, env Env, dir string, suffixes ...string) ([]string, error) {
	out, err := backends.Output(ctx, env.Target, backends.Command{
		Argv: []string{"find", dir + "/.", "-mindepth", "1", "-maxdepth", "1", "-type", "f", "-printf", `%P\0`},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", dir, err)
	}
	var names []string
	for name := range strings.SplitSeq(string(out), "\x00") {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// GatherProduct hands over one file of the target under its own name.
func GatherProduct(ctx context.Context, env Env, dir, name string, add func(name string, content io.ReadCloser) error) error {
	if err := CheckFileName(name); err != nil {
		return fmt.Errorf("cannot gather %q: %w", name, err)
	}
	content, err := env.Target.CopyOut(ctx, dir+"/"+name)
	if err == nil {
		err = add(name, content)
	}
	if err != nil {
		return fmt.Errorf("cannot gather %s: %w", name, err)
	}
	return nil
}

// ResolveInside checks that paths, which may not exist in their last
// component, are in a folder of the target after all symbolic links on the way
// are resolved there (spec: backends.md section 11, weakness O1).
func ResolveInside(ctx context.Context, env Env, root string, paths ...string) error {
	out, err := backends.Output(ctx, env.Target, backends.Command{
		Argv:   append([]string{"readlink", "-f", "--", root}, paths...),
		Stderr: env.Log,
	})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	outside := func(path string) bool { return path != lines[0] && !strings.HasPrefix(path, lines[0]+"/") }
	if err != nil || len(lines) != len(paths)+1 || slices.ContainsFunc(lines, outside) {
		return errors.New("Invalid build file path.") // the text that people know
	}
	return nil
}

// JoinPath joins paths of the target as they are; an absolute one replaces
// what is before it.
func JoinPath(dir, path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return strings.TrimSuffix(dir, "/") + "/" + path
}
