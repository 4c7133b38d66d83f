package supervisor

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/state"
	"lpbuildd/disk"
)

func TestOnlyTheCallersOwnFoldersAndUser(t *testing.T) {
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	other := fmt.Sprint(os.Getuid() + 1)
	dir := t.TempDir()
	others := "/etc"
	if os.Getuid() == 0 {
		others = t.TempDir()
		if err := os.Chown(others, 1, 1); err != nil {
			t.Fatal(err)
		}
	}
	good := job.Settings{Home: dir, FileCache: dir, User: self.Username}
	for _, c := range []struct {
		name, caller string
		settings     job.Settings
		want         string
	}{
		{"no sudo", "", job.Settings{Home: "/etc", FileCache: "/etc", User: "root"}, ""},
		{"one's own", self.Uid, good, ""},
		{"another user", other, good, "builder.user: expected the user with the uid " + other},
		{"another's home", self.Uid, job.Settings{Home: others, FileCache: dir, User: self.Username}, "belongs to uid"},
		{"another's file cache", self.Uid, job.Settings{Home: dir, FileCache: others, User: self.Username}, "belongs to uid"},
		{"no such user", self.Uid, job.Settings{Home: dir, FileCache: dir, User: "no such user"}, "builder.user"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("SUDO_UID", c.caller)
			err := checkSettings(c.settings)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("the working folder", func(t *testing.T) {
		t.Chdir(dir)
		t.Setenv("SUDO_UID", other)
		if _, err := workingFolder(); err == nil {
			t.Error("another's folder was accepted")
		}
		if err := Cleanup(t.Context(), slog.New(slog.DiscardHandler)); err == nil {
			t.Error("another's folder was cleaned")
		}
		if err := EmptyTrash(t.Context(), 0, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("another's trash was emptied")
		}
		if err := Supervise(t.Context()); err == nil {
			t.Error("a build was started in another's folder")
		}
	})
}

func TestCleanupUndoesAndForgets(t *testing.T) {
	r := newRig(t)
	r.request.Args["fast_cleanup"] = true
	r.run()
	cmd := sleeper(t)
	p, err := state.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteJSON(state.Build(r.dir).Supervisor(), p); err != nil {
		t.Fatal(err)
	}
	t.Chdir(r.dir)
	for range 2 {
		if err := Cleanup(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	// The outcome is for the daemon to read.
	if entries, err := os.ReadDir(r.dir); err != nil || len(entries) != 1 || entries[0].Name() != state.Build("").Outcome() || alive(p) {
		t.Errorf("left: %v, %v; the supervisor lives: %v", entries, err, alive(p))
	}
	if _, err := os.Lstat(r.home); err == nil {
		t.Error("the build directory is still there")
	}
	if err := EmptyTrash(t.Context(), 0, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(trashDir(r.dir)); err != nil || len(left) > 0 {
		t.Errorf("in the trash: %v, %v", left, err)
	}
}
