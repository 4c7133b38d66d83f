package builders

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lpbuildd/backends"
)

// onHost is a target that is this machine, as far as its commands go.
type onHost struct {
	backends.Target // nil
	host            backends.Host
}

func (h onHost) Run(ctx context.Context, cmd backends.Command) error { return h.host.Run(ctx, cmd) }

// TestPathsInsideTheCheckout asks a real readlink, and lists through links.
func TestPathsInsideTheCheckout(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	checkout := filepath.Join(top, "snap")
	for _, dir := range []string{checkout + "/a/b", checkout + "2"} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"inside": "a/b", "around": "../snap/a", "out": "..", "etc": "/etc", "a/up": "../..", "beside": "../snap2", "loop": "loop", "dangling": "../none",
	} {
		if err := os.Symlink(to, filepath.Join(checkout, link)); err != nil {
			t.Fatal(err)
		}
	}
	env := Env{Target: onHost{host: backends.Host{Home: top}}, Log: t.Output()}
	for path, inside := range map[string]bool{
		".": true, "a/b": true, "a/": true, "a/../a/b": true, "a//b": true, "inside": true, "around": true, "a/absent": true, checkout + "/a": true, "./-x": true,
		"..": false, "/etc": false, "/": false, "../snap2": false, "a/../..": false, "out": false, "out/snap2": false, "etc": false, "a/up": false,
		"beside": false, "loop": false, "dangling": false, "absent/absent": false,
	} {
		if err := ResolveInside(t.Context(), env, checkout, JoinPath(checkout, path)); (err == nil) != inside {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.WriteFile(checkout+"/a/b/x.snap", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/b", "inside", "around/b", "a/b/."} {
		names, err := Products(t.Context(), env, JoinPath(checkout, dir), ".snap")
		if err != nil || !slices.Equal(names, []string{"x.snap"}) {
			t.Errorf("%s: got %q, %v", dir, names, err)
		}
	}
}
