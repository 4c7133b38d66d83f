package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"time"

	"lpbuildd/backends/incus"
	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

// ExpireKept removes what is kept of failed builds in the state folder of a
// file cache and is due, or in the way. It may be called at any time, by the
// owner of these folders.
func ExpireKept(ctx context.Context, folder state.Folder, log *slog.Logger) error {
	store, err := ownStore(folder)
	if err != nil {
		return err
	}
	return expireKept(ctx, store, 0, log)
}

// DropKept removes what is kept of a build, by its id or that of the build,
// unless somebody is inside.
func DropKept(ctx context.Context, folder state.Folder, name, by string, log *slog.Logger) error {
	store, err := ownStore(folder)
	if err != nil {
		return err
	}
	r, err := store.Find(name)
	if err != nil {
		return err
	}
	if v, inside := store.Visitor(r.ID); inside {
		return fmt.Errorf("cannot remove what is kept of %s: %s is inside; end that first", r.BuildID, v)
	}
	return dropKept(ctx, store, r, by+" has asked for it", log)
}

// ownStore refuses folders into which somebody else could have put things.
func ownStore(folder state.Folder) (kept.Store, error) {
	return kept.In(folder), folder.CheckRootsThings(strconv.Itoa(os.Geteuid()))
}

// expireKept removes what has to go. What cannot be removed does not keep the
// rest, and is tried again the next time.
func expireKept(ctx context.Context, store kept.Store, need int64, log *slog.Logger) error {
	left, err := store.List()
	if err != nil {
		return err
	}
	var errs []error
	for ctx.Err() == nil {
		r, why := store.Victim(left, time.Now(), need)
		if why == "" {
			break
		}
		errs = append(errs, dropKept(ctx, store, r, why, log))
		left = without(left, r.ID)
	}
	return errors.Join(errs...)
}

func without(records []kept.Record, id string) []kept.Record {
	var rest []kept.Record
	for _, r := range records {
		if r.ID != id {
			rest = append(rest, r)
		}
	}
	return rest
}

// dropKept removes what is kept of one build, and kills who is inside.
func dropKept(ctx context.Context, store kept.Store, r kept.Record, why string, log *slog.Logger) error {
	lock, err := evacuate(ctx, store, r, log)
	if errors.Is(err, fs.ErrNotExist) {
		lock, err = nil, nil // it is damaged, or was removed meanwhile
	}
	if err == nil && r.Container != "" {
		limited, cancel := context.WithTimeout(ctx, undoLimit)
		defer cancel()
		err = incus.Clean(limited, engine(engineOf(r)), incus.KindContainer, r.Container)
	}
	if err == nil {
		// What is deleted later may take long; from now on it does not count.
		err = discard(ctx, store.Dir(), store.Path(r.ID))
	}
	if lock != nil {
		err = errors.Join(err, lock.Unlock())
	}
	if err != nil {
		return fmt.Errorf("cannot remove what is kept of the build %s: %w", r.BuildID, err)
	}
	store.Log(ctx, log, "Kept build removed", r, "reason", why)
	return nil
}

// politeness is how long a visitor that is asked to leave may take. Processes
// that have somebody's terminal in their hands have to give it back.
const politeness = 10 * time.Second

// evacuate takes the lock of something that is kept, and kills for it.
func evacuate(ctx context.Context, store kept.Store, r kept.Record, log *slog.Logger) (*kept.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, politeness+state.DeathWait)
	defer cancel()
	var asked time.Time
	for {
		lock, err := store.Lock(r.ID)
		if !errors.Is(err, disk.ErrLocked) {
			return lock, err
		}
		v, inside := store.Visitor(r.ID)
		p := v.Process
		if inside && asked.IsZero() {
			store.Log(ctx, log, "Visit to a kept build ended by force", r, "by", v.By, "pid", v.PID)
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
