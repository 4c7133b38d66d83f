//go:build integration

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends/bridge"
	"lpbuildd/buildd"
)

// newNeighbour starts one more builder on an engine, with a name and a network
// of its own.
func newNeighbour(t *testing.T, f *fixtures, engine, cli, instance, subnet string) *rig {
	t.Helper()
	r := &rig{fixtures: f, cli: cli, instance: instance, bridge: bridge.NameFor(instance)}
	t.Cleanup(func() { r.remove(t) })
	r.builder = newBuilder(t, options{config: fmt.Sprintf(
		"[backend]\ncontainer = %s\npool = btrfs\ninstance = %s\nsubnet = %s\n", engine, instance, subnet)})
	r.adopt()
	return r
}

// needEngine skips where an engine does not run.
func needEngine(t *testing.T, engine, cli string) {
	t.Helper()
	needPrograms(t, cli)
	if _, err := os.Stat("/var/lib/" + engine + "/unix.socket"); err != nil {
		t.Skipf("needs %s, which .ci/containers starts: %v", engine, err)
	}
}

// TestContainersOfTwoBuilders builds with two builders of one engine at the
// same time, each with its proxy; one is aborted, and the other does not mind.
func TestContainersOfTwoBuilders(t *testing.T) {
	needRoot(t)
	f := newFixtures(t)
	for _, engine := range []struct{ name, cli, net string }{{"lxd", "lxc", "10.211.64"}, {"incus", "incus", "10.211.65"}} {
		t.Run(engine.name, func(t *testing.T) {
			needEngine(t, engine.name, engine.cli)
			one := newNeighbour(t, f, engine.name, engine.cli, "e2e-one-"+engine.name, engine.net+".0/25")
			two := newNeighbour(t, f, engine.name, engine.cli, "e2e-two-"+engine.name, engine.net+".128/25")
			first, second := one.token(t, one.id("image")), two.token(t, two.id("slow"))
			two.slow("slow", "snap", second)
			one.job("image", "oci", first.args())
			one.saying("Cloning into")
			if names := slices.Concat(one.containers(t), two.containers(t)); len(names) != 2 {
				t.Errorf("the containers are %q", names)
			}
			two.abort()
			two.rest(t)
			if names := one.containers(t); len(names) != 1 {
				t.Errorf("the container of the other builder is gone: %q", names)
			}
			one.finish("OK")
			one.rest(t)
			one.checkUsed(t, first, "/git/oci.git")
			f.checkRevoked(t, first)
			f.checkRevoked(t, second)
		})
	}
}

// rest cleans a builder. Of its neighbour, checkNothingLeft would complain.
func (r *rig) rest(t *testing.T) {
	t.Helper()
	r.checkNoContainer()
	must(t, r.client.Clean(t.Context()))
}

// TestContainersByHand builds an image and a snap from local repositories with
// lpbuild, as a person does.
func TestContainersByHand(t *testing.T) {
	needRoot(t)
	needEngine(t, "incus", "incus")
	f := newFixtures(t)
	r := newNeighbour(t, f, "incus", "incus", "e2e-hand", "10.211.66.0/24")
	program := filepath.Join(t.TempDir(), "lpbuild")
	r.command(".", "go", "build", "-o", program, inTree("cmd/lpbuild"))
	arch := hostArch(t)
	for tag, want := range map[string][]string{
		"oci":  {"manifest.json", "digests.json", "oci_" + arch + ".build"},
		"snap": {"fixture-snap_1.2_" + arch + ".snap", "fixture-snap_" + arch + ".build"},
	} {
		t.Run(tag, func(t *testing.T) {
			r := r.within(t)
			tree, results := filepath.Join(t.TempDir(), tag), t.TempDir()
			r.command(".", "git", "clone", "--quiet", filepath.Join(f.dir, "www/git", tag+".git"), tree)
			argv := []string{
				"run", "--url", fmt.Sprintf("http://127.0.0.1:%d", r.port), "--image", f.image, "--series", "bookworm",
				"--output", results, tag, ".",
			}
			for _, line := range f.lines {
				argv = append(argv, "--archive", fmt.Sprint(line))
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			run := exec.CommandContext(ctx, program, argv...)
			run.Dir = tree
			out, err := run.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "OK: the build was successful") {
				t.Fatalf("%v: %s", err, out)
			}
			for _, name := range want {
				if _, err := os.Stat(filepath.Join(results, name)); err != nil {
					t.Errorf("%v, among %s", err, out)
				}
			}
			if st := r.status(); st.State != buildd.Idle {
				t.Errorf("the builder is %v", st.State)
			}
			r.checkNothingLeft()
		})
	}
}
