package types_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
)

// newContainerLab is a lab whose target is a container.
func newContainerLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.env.TargetRoot = ""
	l.env.RevokeProxy = func(context.Context) { fmt.Fprintln(&l.log, "Revoking proxy token...") }
	l.env.SetExtra = func(key string, value any) { fmt.Fprintf(&l.log, "(extra %s=%v)\n", key, value) }
	l.target.Script("git rev-parse", fake.Answer{Stdout: "0123456789012345678901234567890123456789\n"})
	l.target.Script("bzr revno", fake.Answer{Stdout: "42\n"})
	l.target.Script("apt-cache show", fake.Answer{Stdout: "Package: snapd\nVersion: 1\n\nPackage: squashfuse\n\nPackage: udev\n"})
	l.target.Script("readlink", fake.Answer{Do: resolve})
	return l
}

// resolve is readlink -f without any links.
func resolve(_ context.Context, _ *fake.Target, cmd backends.Command) error {
	for _, name := range cmd.Argv[3:] {
		if _, err := fmt.Fprintln(cmd.Stdout, path.Clean(name)); err != nil {
			return err
		}
	}
	return nil
}

// withProxy gives the build a proxy.
func (l *lab) withProxy() {
	l.env.Proxy = &builders.Proxy{URL: "http://10.10.10.1:8222/", Host: "10.10.10.1", Port: "8222"}
}

// newBuilder makes a builder from sensible arguments and others that come on
// top of them; nil takes one away.
func newBuilder(t *testing.T, tag string, base, args builders.Args) (builders.Builder, error) {
	t.Helper()
	all := maps.Clone(base)
	maps.Copy(all, args)
	typ, err := types.Find(tag)
	if err != nil {
		t.Fatal(err)
	}
	return typ.New(all, nil)
}

// sampleArgs are arguments as a manager has sent them.
func sampleArgs(t *testing.T, tag string) builders.Args {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", tag, "sample-args.json"))
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var args builders.Args
	if err := decoder.Decode(&args); err != nil {
		t.Fatal(err)
	}
	return args
}

// results gathers what a builder has to report.
func (l *lab) results(ctx context.Context, b builders.Builder) (map[string]string, error) {
	found := map[string]string{}
	err := b.Gather(ctx, l.env, func(name string, content io.ReadCloser) error {
		data, err := io.ReadAll(content)
		found[name] = string(data)
		if err == nil {
			err = content.Close()
		}
		return err
	})
	return found, err
}

// wantError checks that an error says what it should.
func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want %q in it", err, text)
	}
}
