package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/leftovers"
	"lpbuildd/builders"
)

func TestABuildDoesNotTakeTheFolderOfAnotherThatRuns(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(r.home, 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := leftovers.Claim(r.home)
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(r.home, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := r.run()
	if o.Status != "BUILDERFAIL" || !strings.Contains(o.Cause, leftovers.ErrClaimed.Error()) {
		t.Errorf("the outcome is %+v", o)
	}
	if _, err := os.Lstat(kept); err != nil {
		t.Error("the other build has lost its folder")
	}
	if calls := r.calls(); calls != "" {
		t.Errorf("the target, which is in that folder, was asked to %s", calls)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	// Its end frees the name, whatever it left.
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestABuildHoldsItsFolderWhileItRuns(t *testing.T) {
	r := newRig(t)
	r.stub.build = func(context.Context, builders.Env) error {
		if f, err := leftovers.Claim(r.home); !errors.Is(err, leftovers.ErrClaimed) {
			t.Errorf("got %v, %v", f, err)
		}
		if whose, err := os.Readlink(filepath.Join(r.home, ".lpbuildd")); err != nil || whose != r.dir.Path() {
			t.Errorf("it is marked as that of %q: %v", whose, err)
		}
		return nil
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
}
