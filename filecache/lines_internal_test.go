package filecache

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// forSomebody is a log that counts lines by whether they tell for whom they are,
// which keeps a stranger from filling it.
type forSomebody struct {
	slog.Handler
	told, untold *int
}

type somebody struct{}

func (f forSomebody) Enabled(context.Context, slog.Level) bool { return true }

func (f forSomebody) Handle(ctx context.Context, _ slog.Record) error {
	if ctx.Value(somebody{}) == nil {
		*f.untold++
	} else {
		*f.told++
	}
	return nil
}

func TestLinesAboutACallTellForWhomTheyAre(t *testing.T) {
	var told, untold int
	c := openInternal(t, Options{Log: slog.New(forSomebody{slog.DiscardHandler, &told, &untold})})
	name := fill(t, c, "a", 10, time.Hour)
	// As on a disk that turned read-only: no use can be noted.
	meta := filepath.Join(c.folder.dir, metaName)
	if err := errors.Join(os.RemoveAll(meta), os.WriteFile(meta, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), somebody{}, true)
	for _, damage := range []string{"", "damage"} {
		if damage != "" {
			if err := os.WriteFile(filepath.Join(c.folder.dir, name), []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.Ensure(ctx, name, Source{}); err != nil {
			t.Fatal(err)
		}
	}
	if told == 0 || untold > 0 {
		t.Errorf("%d lines tell, %d do not", told, untold)
	}
}
