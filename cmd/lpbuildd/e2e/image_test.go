//go:build integration

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lpbuildd/backends/backendtest"
	"lpbuildd/buildd"
)

// TestImageCommands adds an image, builds in it, damages it, and removes it,
// all while the daemon runs.
func TestImageCommands(t *testing.T) {
	for _, user := range []string{"root", "buildd"} {
		t.Run("as "+user, func(t *testing.T) {
			b := newBuilder(t, options{user: "buildd", config: noEngine})
			b.useStandIn()
			path := backendtest.MiniImage(t, backendtest.Entry{Name: "usr/bin/apt-get", Data: standInApt},
				backendtest.Entry{Name: "etc/apt/sources.list.d", Dir: true}, backendtest.Entry{Name: "etc/apt/apt.conf.d", Dir: true},
				backendtest.Entry{Name: "etc/apt/preferences.d", Dir: true})
			must(t, os.Chmod(filepath.Dir(path), 0o755))
			data, err := os.ReadFile(path)
			must(t, err)
			readable := filepath.Join(b.dir, "base.tar.gz")
			must(t, os.WriteFile(readable, data, 0o644))
			image := strings.TrimSpace(b.operates(user, "image", "add", readable))
			b.known[image] = true
			info, err := os.Stat(filepath.Join(b.cache, image))
			must(t, err)
			if owner := info.Sys().(*syscall.Stat_t).Uid; owner != account(t, "buildd").Uid {
				t.Errorf("the image belongs to the uid %d", owner)
			}

			b.build("uses", b.held(image))
			b.reaches("\nheld.\n")
			if out := b.operates(user, "image", "list"); !strings.Contains(out, image) || !strings.Contains(out, "MiB") || !strings.Contains(out, "in use") {
				t.Errorf("list says\n%s", out)
			}
			if out, err := b.operate(user, "image", "rm", image); err == nil || !strings.Contains(out, `the build "uses" (BUILDING) uses it`) {
				t.Errorf("rm says %s, %v", out, err)
			}
			b.letGo("uses")
			b.finish("OK")
			b.clean()

			b.operates(user, "image", "verify", image)
			damage(t, filepath.Join(b.cache, image))
			if out, err := b.operate(user, "image", "verify"); err == nil || !strings.Contains(out, "damaged  "+image) {
				t.Errorf("verify says %s, %v", out, err)
			}
			if out, _ := b.operate(user, "image", "verify", "--remove", image); !strings.Contains(out, "removed; the next ensurepresent() fetches it again") {
				t.Errorf("verify --remove says %s", out)
			}
			if b.unpacked(image) {
				t.Error("the unpacked root of a damaged image stays")
			}
			url := b.origin.add("/"+image, served{path: path})
			got, err := b.client.EnsurePresent(t.Context(), image, buildd.Source{URL: &url})
			if err != nil || got.Info != "Download" {
				t.Errorf("fetched again: %+v, %v", got, err)
			}
			b.run("again", b.steady(image), "OK")
			b.clean()
			if out := b.operates(user, "image", "rm", image); !strings.Contains(out, "unpacked image") || !strings.Contains(out, "cached file") {
				t.Errorf("rm says %s", out)
			}
			if b.cached(image) || b.unpacked(image) {
				t.Error("it is still there")
			}
		})
	}
}

// damage changes a byte of a file, as a bad disk does.
func damage(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{0xff}, info.Size()/2)
	must(t, err)
	must(t, f.Close())
	must(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
}
