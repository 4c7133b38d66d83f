package builders

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lpbuildd/backends"
)

// answering is a target in which every command answers the same.
type answering struct {
	here
	out string
	err error
}

func (a answering) Run(_ context.Context, cmd backends.Command) error {
	_, err := io.WriteString(cmd.Stdout, a.out)
	return errors.Join(err, a.err)
}

func TestAvailablePackages(t *testing.T) {
	missing, broken := &backends.ExitError{Code: 100}, errors.New("broken")
	for name, tt := range map[string]struct {
		target answering
		want   []string
		err    error
	}{
		"a package":               {answering{out: "Package: hello\nVersion: 1\n"}, []string{"hello"}, nil},
		"several":                 {answering{out: "Package: udev\n\nPackage: hello"}, []string{"hello", "udev"}, nil},
		"one of them is missing":  {answering{out: "Package: udev\n", err: missing}, []string{"udev"}, nil},
		"a virtual package":       {answering{out: "", err: missing}, nil, nil},
		"a longer name":           {answering{out: "Package: hello-traditional\n"}, nil, nil},
		"a name in a description": {answering{out: "Description: x\n Package: hello\n"}, nil, nil},
		"apt-cache cannot be run": {answering{err: broken}, nil, broken},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := availablePackages(t.Context(), Env{Target: tt.target}, "hello", "udev")
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

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
	env := Env{Target: here{backends.Host{Home: top}}, Log: t.Output()}
	for path, inside := range map[string]bool{
		".": true, "a/b": true, "a/": true, "a/../a/b": true, "a//b": true, "inside": true, "around": true, "a/absent": true, checkout + "/a": true, "./-x": true,
		"..": false, "/etc": false, "/": false, "../snap2": false, "a/../..": false, "out": false, "out/snap2": false, "etc": false, "a/up": false,
		"beside": false, "loop": false, "dangling": false, "absent/absent": false,
	} {
		if err := resolveInside(t.Context(), env, checkout, joinPath(checkout, path)); (err == nil) != inside {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := os.WriteFile(checkout+"/a/b/x.snap", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a/b", "inside", "around/b", "a/b/."} {
		names, err := products(t.Context(), env, joinPath(checkout, dir), ".snap")
		if err != nil || !slices.Equal(names, []string{"x.snap"}) {
			t.Errorf("%s: got %q, %v", dir, names, err)
		}
	}
}
