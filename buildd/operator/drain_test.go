package operator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/verdict"
)

func TestCheckReason(t *testing.T) {
	for reason, good := range map[string]bool{"": true, "new kernel": true, "a\nb": false, strings.Repeat("a", 200): true, strings.Repeat("a", 201): false} {
		if err := CheckReason(reason); (err == nil) != good {
			t.Errorf("%q: %v", reason, err)
		}
	}
}

func TestADrainedBuilderIsFollowedUntilItIsEmpty(t *testing.T) {
	r := newRig(t, "{}")
	// With each thing that is said, the builder goes on.
	next := []map[string]any{
		{"state": "WAITING", "build_id": "B-1", "outcome": job.Outcome{BuildID: "B-1", Status: verdict.OK}}, {"state": "IDLE"},
	}
	r.at(map[string]any{"state": "BUILDING", "build_id": "B-1"})
	var said []string
	synctest.Test(t, func(t *testing.T) {
		err := AwaitEmpty(t.Context(), r.State(), 0, func(busy string) {
			said = append(said, busy)
			r.at(next[0])
			next = next[1:]
		})
		if err != nil {
			t.Error(err)
		}
	})
	if want := []string{`"B-1" still runs (BUILDING)`, `the results of "B-1" wait for the manager`}; !slices.Equal(said, want) {
		t.Errorf("said %q", said)
	}
}

func TestTheWaitForAnEmptyBuilderEnds(t *testing.T) {
	r := newRig(t, "{}")
	r.at(map[string]any{"state": "ABORTING", "build_id": "B-1"})
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := AwaitEmpty(t.Context(), r.State(), time.Hour, func(string) {})
		if err == nil || !strings.Contains(err.Error(), `after 1h0m0s: "B-1" still runs (ABORTING); wait longer`) || time.Since(began) != time.Hour {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("a signal"))
		if err := AwaitEmpty(ctx, r.State(), time.Hour, func(string) {}); err == nil || !strings.Contains(err.Error(), "not empty interrupted: ") {
			t.Errorf("interrupted: %v", err)
		}
	})
}
