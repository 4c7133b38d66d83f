package supervise

import (
	"errors"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"

	"lpbuildd/buildd/caller"
	"lpbuildd/buildd/state"
)

// TestRootTrustsOnlyItsOwnThings: who calls through sudo owns the state folder, and
// could have put roots, trash or something kept there that root would obey.
func TestRootTrustsOnlyItsOwnThings(t *testing.T) {
	folder := state.Folder(t.TempDir())
	build := folder.Build().Path()
	if err := os.Mkdir(build, 0o700); err != nil {
		t.Fatal(err)
	}
	uid := strconv.Itoa(os.Geteuid())
	give := func(string) error { return nil }
	if uid == "0" { // whom sudo has never called for
		uid = "1"
		give = func(path string) error { return os.Chown(path, 1, 1) }
	}
	if err := errors.Join(give(build), give(folder.Path())); err != nil {
		t.Fatal(err)
	}
	t.Chdir(build)
	t.Setenv("SUDO_UID", uid)
	if _, err := caller.WorkingFolder(); err != nil {
		t.Fatalf("the caller's own folder: %v", err)
	}
	for _, planted := range []string{folder.Roots(), folder.Trash(), folder.Kept()} {
		if err := errors.Join(os.Mkdir(planted, 0o700), give(planted)); err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.DiscardHandler)
		for name, do := range map[string]func() error{
			"any role":    func() error { _, err := caller.WorkingFolder(); return err },
			"a clean-up":  func() error { return Cleanup(t.Context(), log) },
			"emptying":    func() error { return EmptyTrash(t.Context(), 0, log) },
			"stocktaking": func() error { return Stock(t.Context(), strings.NewReader("{}"), nil) },
		} {
			if err := do(); err == nil || !strings.Contains(err.Error(), planted+" belongs to uid") {
				t.Errorf("%s with somebody's %s: %v", name, planted, err)
			}
		}
		if err := os.Remove(planted); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAnOperatorTrustsOnlyItsOwnThings: what is kept is entered, and removed, by
// root.
func TestAnOperatorTrustsOnlyItsOwnThings(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give things to others")
	}
	log := slog.New(slog.DiscardHandler)
	folder := state.Folder(t.TempDir())
	for _, planted := range []string{folder.Roots(), folder.Trash(), folder.Kept()} {
		if err := errors.Join(os.Mkdir(planted, 0o700), os.Chown(planted, 1, 1)); err != nil {
			t.Fatal(err)
		}
		for name, do := range map[string]func() error{
			"a visit":  func() error { return Visit(t.Context(), folder, "B-1", "me", nil, log) },
			"removal":  func() error { return DropKept(t.Context(), folder, "B-1", "me", log) },
			"expiring": func() error { return ExpireKept(t.Context(), folder, log) },
		} {
			if err := do(); err == nil || !strings.Contains(err.Error(), planted+" belongs to uid") {
				t.Errorf("%s with somebody's %s: %v", name, planted, err)
			}
		}
		if err := os.Remove(planted); err != nil {
			t.Fatal(err)
		}
	}
}
