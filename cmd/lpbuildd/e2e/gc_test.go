//go:build integration

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// noEngine keeps commands from the container engines of this machine.
const noEngine = "[backend]\nsocket = /nonexistent\n"

// unusedSince makes cache entries look as if nobody used them lately.
func (b *builder) unusedSince(ago time.Duration, sums ...string) {
	b.t.Helper()
	then := time.Now().Add(-ago)
	for _, sum := range sums {
		for _, path := range []string{sum, ".lpbuildd/meta/" + sum + ".json"} {
			must(b.t, os.Chtimes(filepath.Join(b.cache, path), then, then))
		}
	}
}

// unpacked says whether an image is.
func (b *builder) unpacked(image string) bool {
	_, err := os.Lstat(filepath.Join(b.cache, ".lpbuildd/roots", image+".root/complete"))
	return err == nil
}

// TestGCDuringABuild collects garbage while a build runs, as each of those who may.
func TestGCDuringABuild(t *testing.T) {
	for _, user := range []string{"root", "buildd"} {
		t.Run("as "+user, func(t *testing.T) {
			b := newBuilder(t, options{user: "buildd", config: "[cache]\nroots = 3\n" + noEngine})
			b.useStandIn()
			old, used := b.cheapImage(1<<20), b.cheapImage(2<<20)
			b.run("old", b.steady(old), "OK")
			b.clean()
			unused := b.put([]byte("unused"))
			roots := filepath.Join(b.cache, ".lpbuildd/roots")
			must(t, os.CopyFS(filepath.Join(roots, "torn.root"), os.DirFS(inTree("etc"))))
			w := b.held(used)
			b.build("running", w)
			b.reaches("\nheld.\n")
			b.unusedSince(time.Hour, old, used, unused, w.files["script"])

			gc := []string{"gc", "--set", "cache.roots=0", "--set", "cache.maxage=30m"}
			dry := b.operates(user, append(gc, "--dry-run")...)
			if !b.unpacked(old) || !b.cached(unused) {
				t.Error("the dry run has removed something")
			}
			wet := b.operates(user, gc...)
			if strings.NewReplacer("would remove", "removed", "would be freed", "freed").Replace(dry) != wet {
				t.Errorf("the dry run said\n%sand it was\n%s", dry, wet)
			}
			for _, want := range []string{unused, old, "half-unpacked image", "torn"} {
				if !strings.Contains(wet, want) {
					t.Errorf("%s is not in\n%s", want, wet)
				}
			}
			if strings.Contains(wet, used) || strings.Contains(wet, w.files["script"]) || !b.unpacked(used) || !b.cached(used) {
				t.Errorf("what a build uses was removed:\n%s", wet)
			}
			if b.unpacked(old) || b.cached(unused) || b.cached(old) {
				t.Error("something was not removed")
			}
			if _, err := os.Lstat(filepath.Join(roots, "torn.root")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the half-unpacked image: %v", err)
			}
			b.letGo("running")
			st := b.finish("OK")
			b.operates(user, append(gc, "--set", "cache.maxsize=1")...)
			if !b.cached(st.FileMap["cheap_1.deb"]) || b.unpacked(used) {
				t.Error("the results of a build that waits go, or its root stays")
			}
			b.clean()
		})
	}
}
