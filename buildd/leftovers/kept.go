package leftovers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"lpbuildd/backends/incus"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// DropKept removes what is kept of one build, and kills who is inside.
func DropKept(ctx context.Context, builds kept.Builds, r kept.Record, why string, log *slog.Logger) error {
	lock, err := evacuate(ctx, builds, r, log)
	if errors.Is(err, fs.ErrNotExist) {
		lock, err = nil, nil // it is damaged, or was removed meanwhile
	}
	if err == nil && r.Container != "" {
		limited, cancel := context.WithTimeout(ctx, undoLimit)
		defer cancel()
		err = incus.Clean(limited, KeptEngine(r), incus.KindContainer, r.Container)
	}
	if err == nil {
		// What is deleted later may take long; from now on it does not count.
		err = Discard(ctx, builds.State(), builds.Path(r.ID))
	}
	if lock != nil {
		err = errors.Join(err, lock.Unlock())
	}
	if err != nil {
		return fmt.Errorf("cannot remove what is kept of the build %s: %w", r.BuildID, err)
	}
	builds.Log(ctx, log, "Kept build removed", r, "reason", why)
	return nil
}

// politeness is how long a visitor that is asked to leave may take. Processes
// that have somebody's terminal in their hands have to give it back.
const politeness = 10 * time.Second

// evacuate takes the lock of something that is kept, and kills for it.
func evacuate(ctx context.Context, builds kept.Builds, r kept.Record, log *slog.Logger) (*kept.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, politeness+state.DeathWait)
	defer cancel()
	var asked time.Time
	for {
		lock, err := builds.Lock(r.ID)
		if !errors.Is(err, disk.ErrLocked) {
			return lock, err
		}
		v, inside := builds.Visitor(r.ID)
		p := v.Process
		if inside && asked.IsZero() {
			builds.Log(ctx, log, "Visit to a kept build ended by force", r, "by", v.By, "pid", v.PID)
			asked = time.Now()
			_ = p.AskToEnd()
		}
		if inside && (r.Container == "" || time.Since(asked) > politeness) {
			if err := p.Kill(ctx); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("somebody stays inside: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
