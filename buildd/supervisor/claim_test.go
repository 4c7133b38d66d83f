package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/ledger"
	"lpbuildd/buildd/state"
	"lpbuildd/builders"
)

func TestABuildDoesNotTakeTheFolderOfAnotherThatRuns(t *testing.T) {
	r := newRig(t)
	if err := os.Mkdir(r.home, 0o755); err != nil {
		t.Fatal(err)
	}
	other, err := claim(r.home)
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(r.home, "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := r.run()
	if o.Status != "BUILDERFAIL" || !strings.Contains(o.Cause, errClaimed.Error()) {
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
		if f, err := claim(r.home); !errors.Is(err, errClaimed) {
			t.Errorf("got %v, %v", f, err)
		}
		return nil
	}
	if o := r.run(); o.Status != "OK" {
		t.Errorf("the outcome is %+v", o)
	}
}

func TestCleanupLeavesWhatAnotherBuilderHasTakenOver(t *testing.T) {
	for _, taken := range []bool{true, false} {
		r := newRig(t)
		file := filepath.Join(t.TempDir(), "schroot")
		text := fmt.Sprintf("[build]\ndirectory=%s/chroot-autobuild\n", r.home)
		if err := errors.Join(os.Mkdir(r.home, 0o755), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(state.Build(r.dir).Ledger())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Add(ledger.Entry{Kind: ledger.Directory, Name: r.home}), l.Add(ledger.Entry{Kind: ledger.File, Name: file}), l.Close()); err != nil {
			t.Fatal(err)
		}
		if taken {
			other, err := claim(r.home)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Close() })
		}
		t.Chdir(r.dir)
		if err := Cleanup(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{r.home, file} {
			if _, err := os.Lstat(path); (err == nil) != taken {
				t.Errorf("taken over: %v; %s: %v", taken, path, err)
			}
		}
		if _, err := os.Lstat(state.Build("").Ledger()); err == nil {
			t.Error("there is still a ledger")
		}
	}
}
