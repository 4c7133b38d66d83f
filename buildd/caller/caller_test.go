package caller

import (
	"fmt"
	"os"
	"os/user"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
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
			err := CheckSettings(c.settings)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("the working folder", func(t *testing.T) {
		t.Chdir(dir)
		t.Setenv("SUDO_UID", other)
		if _, err := WorkingFolder(); err == nil {
			t.Error("another's folder was accepted")
		}
	})
}
