package types_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func ociArgs() builders.Args {
	return builders.Args{"name": "test-image", "git_repository": "https://git.test/repo"}
}

func TestOCI(t *testing.T) {
	proxy := builders.Args{"proxy_url": upstream, "revocation_endpoint": revocation}
	withProxy := func(l *lab) { l.withProxy() }
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, nil},
		{"proxy", proxy, withProxy},
		{"build-file", builders.Args{"build_file": "build-aux/Dockerfile"}, nil},
		{"build-path", builders.Args{"build_path": "sub/dir"}, nil},
		{"build-path-and-file", builders.Args{"build_path": "sub", "build_file": "Dockerfile.arm"}, nil},
		{"build-args", withArgs(proxy, builders.Args{"build_args": map[string]any{
			"LAUNCHPAD_BUILD_ARCH": "amd64", "A": "b c='d'", "http_proxy": "", "TOKEN": "not to be seen in the first line",
		}}), withProxy},
		{"git-path-tag", builders.Args{"git_path": "refs/tags/v1"}, nil},
		{"credentials", builders.Args{"git_repository": "https://user:macaroon@git.test/repo"}, nil},
		{"bzr", builders.Args{"git_repository": nil, "branch": "lp:project"}, nil},
		{"docker-client", nil, func(l *lab) {
			l.target.Script("apt-cache show docker-cli", fake.Answer{Stdout: "Package: docker-cli\n"})
		}},
		{"constraints", nil, func(l *lab) { l.env.Common.Constraints = []string{"gpu-nvidia"} }},
		{"sample", sampleArgs(t, "oci"), withProxy},

		{"fail-install", nil, fails("apt-get")},
		{"fail-install-docker", nil, fails("systemctl")},
		{"fail-repo", nil, fails("git clone")},
		{"fail-build", nil, fails("docker build")},
		{"fail-context-outside", builders.Args{"build_path": "../"}, nil},
		{"fail-context-absolute", builders.Args{"build_path": "/etc"}, nil},
		{"fail-context-beside", builders.Args{"build_path": "../test-image2"}, nil},
		{"fail-file-outside", builders.Args{"build_file": "../build-aux/Dockerfile"}, nil},
		{"fail-file-absolute", builders.Args{"build_file": "/etc/Dockerfile"}, nil},
		{"fail-file-link", builders.Args{"build_file": "Dockerfile"}, func(l *lab) {
			l.target.Script("readlink", fake.Answer{Stdout: "/home/buildd/test-image\n/home/buildd/test-image\n/etc/hosts\n"})
		}},
		{"fail-file-missing", builders.Args{"build_file": "none/Dockerfile"}, func(l *lab) {
			l.target.Script("readlink", fake.Answer{Stdout: "/home/buildd/test-image\n", Code: 1})
		}},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("docker", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			if c.prepare != nil {
				c.prepare(l)
			}
			b, err := newBuilder(t, "oci", ociArgs(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			l.golden("oci/"+c.golden, b.Build(t.Context(), l.env))
			if text := l.log.String(); strings.Contains(text, "proxy-secret") || strings.Contains(text, "not to be seen") {
				t.Error("a secret reaches the log")
			}
		})
	}
}

func TestOCIEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	for _, command := range []string{"docker build", "docker save"} {
		t.Run(command, func(t *testing.T) {
			l := newContainerLab(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
				cancel(aborted)
				return nil
			}})
			b, err := newBuilder(t, "oci", ociArgs(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err = b.Build(ctx, l.env); err == nil {
				_, err = l.results(ctx, b)
			}
			var judged *verdict.BuildError
			if !errors.Is(err, aborted) || errors.As(err, &judged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOCIArguments(t *testing.T) {
	cases := containerArgErrors()
	type c = struct {
		args builders.Args
		err  string
	}
	cases["build arguments of the wrong type"] = c{builders.Args{"build_args": "x"}, "build_args: expected a struct, got string"}
	cases["a build argument of the wrong type"] = c{builders.Args{"build_args": map[string]any{"A": int64(1)}}, "build_args.A: expected a string, got int"}
	cases["a build file of the wrong type"] = c{builders.Args{"build_file": int64(1)}, "build_file: expected a string, got int"}
	cases["a build path of the wrong type"] = c{builders.Args{"build_path": int64(1)}, "build_path: expected a string, got int"}
	cases["a build path of two lines"] = c{builders.Args{"build_path": "a\nb"}, "build_path: expected a single line"}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t, "oci", ociArgs(), c.args)
			wantError(t, err, c.err)
		})
	}
	b, err := newBuilder(t, "oci", ociArgs(), builders.Args{"build_file": nil, "build_path": nil, "build_args": nil, "metadata": map[string]any{"x": nil}})
	if b == nil || err != nil {
		t.Errorf("nil for what is optional: %v", err)
	}
}

// dockerSaves scripts docker save.
func dockerSaves(l *lab, a fake.Answer, archive []byte) {
	a.Do = func(_ context.Context, _ *fake.Target, cmd backends.Command) error {
		_, err := bytes.NewReader(archive).WriteTo(cmd.Stdout)
		return err
	}
	l.target.Script("docker save", a)
}
