package state_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/state"
)

func TestCheckOwner(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc", link); err != nil {
		t.Fatal(err)
	}
	own, other := fmt.Sprint(os.Getuid()), fmt.Sprint(os.Getuid()+1)
	for _, c := range []struct {
		name, uid, path, want string
	}{
		{"one's own", own, dir, ""},
		{"another's", other, dir, "belongs to uid"},
		{"another's, and nobody asks", "", dir, ""},
		{"a link", own, link, "is a symbolic link"},
		{"what does not exist", other, filepath.Join(dir, "nosuch"), ""},
		{"what cannot exist", own, "/etc/passwd/x", "cannot look at"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := state.CheckOwner(c.uid, c.path)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestRootsThingsAreRoots: what anybody else has put there could be a link, or an
// image that is not what its name says.
func TestRootsThingsAreRoots(t *testing.T) {
	for _, name := range []string{"roots", "trash", "kept"} {
		f := state.Folder(t.TempDir())
		if err := f.CheckRootsThings(state.Root); err != nil {
			t.Errorf("nothing is there: %v", err)
		}
		path := filepath.Join(f.Path(), name)
		if err := errors.Join(os.Mkdir(path, 0o700), giveAway(path)); err != nil {
			t.Fatal(err)
		}
		if err := f.CheckRootsThings(state.Root); err == nil || !strings.Contains(err.Error(), path+" belongs to uid") {
			t.Errorf("%s of somebody else's: %v", name, err)
		}
		if err := f.CheckRootsThings(""); err != nil {
			t.Errorf("nobody asks: %v", err)
		}
		if err := errors.Join(os.Remove(path), os.Symlink("/root", path)); err != nil {
			t.Fatal(err)
		}
		if err := f.CheckRootsThings(state.Root); err == nil || !strings.Contains(err.Error(), path+" is a symbolic link") {
			t.Errorf("%s is a link: %v", name, err)
		}
	}
}

// giveAway makes sure that something is not root's.
func giveAway(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, 1, 1)
}
