//go:build integration

package e2e

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/selftest"
)

// selftest runs the command and returns its findings by the names of checks.
func (b *builder) selftest(user string, args ...string) (map[string]selftest.Finding, error) {
	b.t.Helper()
	out, err := b.operate(user, append([]string{"selftest", "--json", "--home", b.home}, args...)...)
	found := map[string]selftest.Finding{}
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var f selftest.Finding
		if decodeErr := decoder.Decode(&f); decodeErr != nil {
			if decodeErr != io.EOF && err == nil {
				b.t.Errorf("%v in %s", decodeErr, out)
			}
			return found, err
		}
		found[f.Name] = f
	}
}

// TestSelftest builds a package in a real base image, as each of those who may,
// beside a daemon that has a build of its own.
func TestSelftest(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: noEngine})
	found, err := b.selftest("root")
	if err != nil || found["build"].Result != selftest.Skipped || !strings.Contains(found["build"].Advice, "image add") {
		t.Errorf("without an image: %v, %+v", err, found["build"])
	}
	image := b.baseImage()
	for _, user := range []string{"root", "buildd"} {
		found, err := b.selftest(user, "--image", image)
		for _, name := range []string{"configuration", "build user", "home folder", "helpers", "sbuild", "shipped files", "daemon", "build"} {
			if found[name].Result != selftest.OK {
				t.Errorf("as %s: %+v", user, found[name])
			}
		}
		if err != nil || user == "root" && found["overlay"].Result != selftest.OK {
			t.Errorf("as %s: %v, %+v", user, err, found["overlay"])
		}
		b.checkLeaks()
		b.checkHidden()
	}
	found, err = b.selftest("root", "--daemon")
	if err != nil || !strings.Contains(found["build"].Detail, "through the daemon at http://127.0.0.1:") {
		t.Errorf("through the daemon: %v, %+v", err, found["build"])
	}
	b.checkLeaks()
	if b.unpacked(image) {
		t.Error("the unpacked image is left behind")
	}
}

// TestSelftestFindsWhatIsBroken breaks one thing after the other.
func TestSelftestFindsWhatIsBroken(t *testing.T) {
	b := newBuilder(t, options{user: "buildd", config: noEngine})
	image := b.cheapImage(1 << 20)
	found, err := b.selftest("root", "--set", "keep.failed=1h")
	if err == nil || found["build"].Result != selftest.Failed || !strings.Contains(found["build"].Log, "Build summary") {
		t.Errorf("an image in which nothing can be built: %v, %+v", err, found["build"])
	}
	if strings.Contains(found["build"].Log, "lpbuildd enter") {
		t.Errorf("the log promises that something is kept: %s", found["build"].Log)
	}
	b.checkLeaks()
	b.checkHidden()
	must(t, os.Rename(filepath.Join(b.dir, "share"), filepath.Join(b.dir, "elsewhere")))
	if found, err := b.selftest("root", "--image", image); err == nil || found["shipped files"].Result != selftest.Failed {
		t.Errorf("without the shipped files: %v, %+v", err, found["shipped files"])
	}
	b.checkHidden()
	if found, err := b.selftest("root", "--set", "builder.bindport=x"); err == nil || found["configuration"].Result != selftest.Failed {
		t.Errorf("without a port: %v, %+v", err, found)
	}
}

// checkHidden fails if a test has left its folder.
func (b *builder) checkHidden() {
	b.t.Helper()
	if left, _ := filepath.Glob(filepath.Join(b.home, ".selftest-*")); len(left) > 0 {
		b.t.Errorf("left behind: %q", left)
	}
}
