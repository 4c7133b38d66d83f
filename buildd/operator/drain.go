package operator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"lpbuildd/buildd"
	"lpbuildd/buildd/state"
)

// maxReason is how long the reason of a drain may be, for it is shown in one line.
const maxReason = 200

// CheckReason refuses what cannot be the reason of a drain.
func CheckReason(reason string) error {
	if strings.ContainsFunc(reason, unicode.IsControl) || len(reason) > maxReason {
		return fmt.Errorf("want one line of at most %d bytes", maxReason)
	}
	return nil
}

// drainPause is the pause between two looks at the builder.
const drainPause = time.Second

// Busy describes what keeps a drained builder from being empty, "" if nothing
// does.
func Busy(folder state.Folder) (string, error) {
	seen, err := buildd.Look(folder)
	switch {
	case err != nil:
		return "", err
	case seen.State == buildd.Idle:
		return "", nil
	case seen.State == buildd.Waiting:
		return fmt.Sprintf("the results of %q wait for the manager", seen.BuildID), nil
	}
	return fmt.Sprintf("%q still runs (%s)", seen.BuildID, seen.State), nil
}

// AwaitEmpty returns when a drained builder has no build; 0 is no limit. It begins
// with a pause, after which a build that was accepted at the same moment is seen.
// Each time that something else keeps the builder from being empty, it says so.
func AwaitEmpty(ctx context.Context, folder state.Folder, limit time.Duration, say func(busy string)) error {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	said := ""
	for {
		select {
		case <-ctx.Done():
			return gaveUp(ctx, folder, limit)
		case <-time.After(drainPause):
		}
		busy, err := Busy(folder)
		if err != nil || busy == "" {
			return err
		}
		if busy != said {
			said = busy
			say(busy)
		}
	}
}

// gaveUp says why the wait was in vain.
func gaveUp(ctx context.Context, folder state.Folder, limit time.Duration) error {
	busy, err := Busy(folder)
	if err != nil {
		return err
	}
	after := "interrupted"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		after = fmt.Sprintf("after %s", limit)
	}
	return fmt.Errorf("the builder is drained, but not empty %s: %s; wait longer, or abort the build at the manager ('lpbuildd undrain' takes builds again)", after, busy)
}
