package kept

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lpbuildd/disk"
)

// Log writes a line about one of them to the log of all that is kept, and to
// another log.
func (b Builds) Log(ctx context.Context, to *slog.Logger, msg string, r Record, args ...any) {
	args = append([]any{"build_id", r.BuildID, "id", r.ID}, args...)
	to.Log(ctx, slog.LevelInfo, msg, args...) //nolint:sloglint // the callers' messages are constant
	if err := b.append(ctx, msg, args); err != nil {
		to.Warn("Cannot write to the log of what is kept", "error", err)
	}
}

func (b Builds) append(ctx context.Context, msg string, args []any) error {
	flags := os.O_WRONLY | os.O_APPEND | os.O_CREATE | unix.O_NOFOLLOW
	f, err := os.OpenFile(filepath.Join(b.dir, logName), flags, 0o644) // there are no secrets in it
	if err != nil {
		return err
	}
	own := slog.New(slog.NewTextHandler(f, nil))
	own.Log(ctx, slog.LevelInfo, msg, args...) //nolint:sloglint // as above
	return disk.Sync(f, nil)
}
