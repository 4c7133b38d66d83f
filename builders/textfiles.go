package builders

import (
	"context"
	"fmt"
	"strings"

	"lpbuildd/backends"
)

// WriteText writes a text file of the target, which everyone may read.
func WriteText(ctx context.Context, env Env, path, content string) error {
	if err := env.Target.CopyIn(ctx, strings.NewReader(content), path, 0o644); err != nil {
		return fmt.Errorf("cannot write %s in the target: %w", path, err)
	}
	return nil
}

// ReadText reads a text file of the target. More than 64 MiB is an error.
func ReadText(ctx context.Context, env Env, path string) (string, error) {
	data, err := backends.ReadFile(ctx, env.Target, path, maxControl)
	return string(data), err
}

// maxControl limits the files of the package that are read here. The largest
// changelogs have some megabytes.
const maxControl = 64 << 20
