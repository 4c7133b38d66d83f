package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"lpbuildd/buildd/kept"
	"lpbuildd/buildd/leftovers"
	"lpbuildd/buildd/state"
)

// ExpireKept removes what is kept of failed builds in the state folder of a
// file cache and is due, or in the way. It may be called at any time, by the
// owner of these folders.
func ExpireKept(ctx context.Context, folder state.Folder, log *slog.Logger) error {
	builds, err := ownBuilds(folder)
	if err != nil {
		return err
	}
	return expireKept(ctx, builds, 0, log)
}

// DropKept removes what is kept of a build, by its id or that of the build,
// unless somebody is inside.
func DropKept(ctx context.Context, folder state.Folder, name, by string, log *slog.Logger) error {
	builds, err := ownBuilds(folder)
	if err != nil {
		return err
	}
	r, err := builds.Find(name)
	if err != nil {
		return err
	}
	if v, inside := builds.Visitor(r.ID); inside {
		return fmt.Errorf("cannot remove what is kept of %s: %s is inside; end that first", r.BuildID, v)
	}
	return leftovers.DropKept(ctx, builds, r, by+" has asked for it", log)
}

// ownBuilds refuses folders into which somebody else could have put things.
func ownBuilds(folder state.Folder) (kept.Builds, error) {
	return kept.In(folder), folder.CheckRootsThings(strconv.Itoa(os.Geteuid()))
}

// expireKept removes what has to go. What cannot be removed does not keep the
// rest, and is tried again the next time.
func expireKept(ctx context.Context, builds kept.Builds, need int64, log *slog.Logger) error {
	left, err := builds.List()
	if err != nil {
		return err
	}
	var errs []error
	for ctx.Err() == nil {
		r, why := builds.Victim(left, time.Now(), need)
		if why == "" {
			break
		}
		errs = append(errs, leftovers.DropKept(ctx, builds, r, why, log))
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
