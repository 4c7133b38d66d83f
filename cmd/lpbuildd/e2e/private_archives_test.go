//go:build integration

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestContainersPrivateArchives builds with packages of an archive that wants
// a password, and then looks for that password everywhere: in the target while
// it builds, and in the whole result.
func TestContainersPrivateArchives(t *testing.T) {
	needRoot(t)
	f := newFixtures(t)
	secret := fmt.Sprintf("p4ssw0rd-%d", os.Getpid())
	port := f.serve("fixture-server", filepath.Join(f.dir, "www"), "--private", "reader:"+secret)
	for _, engine := range []struct{ name, cli string }{{"lxd", "lxc"}, {"incus", "incus"}} {
		t.Run(engine.name, func(t *testing.T) {
			r := newRig(t, f, engine.name, engine.cli)
			r.adopt()
			// snapcraft is in this archive only.
			private := fmt.Sprintf("http://reader:%s@%s:%s/private/apt", secret, ownAddress(t), port)
			args := map[string]any{
				"archive_private": true,
				"archives":        []any{r.lines[0], "deb [trusted=yes] " + private + " ./"},
			}
			t.Run("in the target", func(t *testing.T) { r.within(t).searchTarget(args, secret) })
			t.Run("in a snap", func(t *testing.T) { r.within(t).searchResults("snap", args, secret) })
			t.Run("in an image", func(t *testing.T) { r.within(t).searchResults("oci", args, secret) })
		})
	}
}

// searchTarget looks for a secret in all files of the target, and in the
// arguments and the environment of all its processes, while it builds.
func (r *rig) searchTarget(args map[string]any, secret string) {
	t := r.t()
	t.Helper()
	args = maps.Clone(args)
	args["git_path"] = "slow"
	r.job("private", "snap", args)
	r.saying("Building (fixture)")
	names := r.containers(t)
	if len(names) != 1 {
		t.Fatalf("the containers are %q", names)
	}
	// Not as an argument: there it would be found.
	const search = `pattern=$(mktemp -p /run); cat >$pattern
grep -rlaF -f $pattern --exclude-dir=proc --exclude-dir=sys --exclude-dir=run / 2>/dev/null
grep -laF -f $pattern /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null
grep -rlaF -f $pattern --exclude=${pattern##*/} /run 2>/dev/null
grep -rlaF -f $pattern /etc/apt | head -n 1
grep -c . /etc/apt/apt.conf.d/98lpbuildd-archives`
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.cli, "exec", names[0], "--", "sh", "-c", search)
	cmd.Stdin = strings.NewReader(secret + "\n")
	out, err := cmd.Output()
	must(t, err)
	if got := string(out); got != "2\n" {
		t.Errorf("the secret is in, before the number of lines of apt's configuration:\n%s", got)
	}
	r.findNowhere(secret)
	r.abort()
	r.rests()
}

// searchResults builds, and looks for a secret in everything that is delivered.
func (r *rig) searchResults(tag string, args map[string]any, secret string) {
	t := r.t()
	t.Helper()
	r.job("results-"+tag, tag, args)
	st := r.finish("OK")
	if len(st.FileMap) == 0 {
		t.Error("there are no results")
	}
	for name, sum := range st.FileMap {
		data, err := r.download(sum)
		must(t, err)
		for what, part := range insideOf(t, name, data) {
			if bytes.Contains(part, []byte(secret)) {
				t.Errorf("%s has the secret, in %s", name, what)
			}
		}
	}
	r.findNowhere(secret)
	r.rests()
}

// insideOf is a result, and what is in it without compression.
func insideOf(t *testing.T, name string, data []byte) map[string][]byte {
	t.Helper()
	parts := map[string][]byte{"itself": data}
	switch {
	case strings.HasSuffix(name, ".gz"):
		plain, err := gzip.NewReader(bytes.NewReader(data))
		must(t, err)
		parts["the layer"], err = io.ReadAll(plain)
		must(t, err)
	case strings.HasSuffix(name, ".snap"):
		path := filepath.Join(t.TempDir(), name)
		must(t, os.WriteFile(path, data, 0o600))
		tar, err := exec.CommandContext(t.Context(), "unsquashfs", "-cat", path, "meta/snap.yaml", "meta/environment", "fetched").Output()
		must(t, err)
		parts["its files"] = tar
	}
	return parts
}
