package types_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

const (
	upstream   = "http://SNAPBUILD-1:proxy-secret-123@proxy.test:3128"
	revocation = "http://proxy-auth.test/tokens/SNAPBUILD-1"
)

func snapArgs() builders.Args {
	return builders.Args{"name": "test-snap", "git_repository": "https://git.test/repo"}
}

// fetchServiceArgs are the arguments of a build behind a fetch service.
func fetchServiceArgs() builders.Args {
	return builders.Args{
		"proxy_url": upstream, "revocation_endpoint": revocation, "use_fetch_service": true,
		"secrets": map[string]any{"fetch_service_mitm_certificate": "Q0VSVElGSUNBVEUK"},
	}
}

func withCertificate(text string) builders.Args {
	return withArgs(fetchServiceArgs(), builders.Args{"secrets": map[string]any{"fetch_service_mitm_certificate": text}})
}

func withArgs(sets ...builders.Args) builders.Args {
	all := builders.Args{}
	for _, set := range sets {
		maps.Copy(all, set)
	}
	return all
}

// snapcraftMakes scripts snapcraft so that it leaves files.
func snapcraftMakes(l *lab, names ...string) {
	l.target.AddFile("/build/test-snap/.git/HEAD", "", 0o644)
	l.target.Script("snapcraft", fake.Answer{}, fake.Answer{Stdout: "Snapped\n", Do: func(_ context.Context, f *fake.Target, _ backends.Command) error {
		for _, name := range names {
			f.AddFile("/build/test-snap/"+name, "content of "+name, 0o644)
		}
		return nil
	}})
}

func TestSnap(t *testing.T) {
	proxy := builders.Args{"proxy_url": upstream, "revocation_endpoint": revocation}
	disable := builders.Args{"disable_proxy_after_pull": true}
	withProxy := func(l *lab) { l.withProxy() }
	focal := func(l *lab) { l.withProxy(); l.env.Common.Series = "focal" }
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, nil},
		{"channels", builders.Args{"channels": map[string]any{"snapcraft": "stable", "core22": "edge", "core": "candidate"}}, nil},
		{"proxy", proxy, withProxy},
		{"fetch-service-noble", fetchServiceArgs(), withProxy},
		{"fetch-service-focal", fetchServiceArgs(), focal},
		{"disable-proxy-after-pull", withArgs(proxy, disable), withProxy},
		{"disable-proxy-after-pull-fetch-service", withArgs(fetchServiceArgs(), disable), withProxy},
		{"disable-proxy-without-endpoint", withArgs(disable, builders.Args{"proxy_url": upstream}), withProxy},
		{"private", builders.Args{"private": true, "git_repository": "https://user:macaroon@git.test/repo"}, nil},
		{"build-path", builders.Args{"build_path": "a/b", "build_source_tarball": true}, func(l *lab) {
			l.target.AddFile("/build/test-snap/a/b/test-snap_1_amd64.snap", "", 0o644)
		}},
		{"build-path-dot", builders.Args{"build_path": "."}, nil},
		{"fail-build-path-above", builders.Args{"build_path": ".."}, nil},
		{"fail-build-path-absolute", builders.Args{"build_path": "/etc"}, nil},
		{"fail-build-path-beside", builders.Args{"build_path": "../test-snap2"}, nil},
		{"tarball", builders.Args{"build_source_tarball": true}, nil},
		{"target-architectures", builders.Args{"target_architectures": []any{"riscv64", "arm64"}, "craft_platform": "riscv64"}, nil},
		{"build-request", builders.Args{
			"build_request_id": int64(13), "build_request_timestamp": "2018-04-13T14:50:02Z", "build_url": "https://launchpad.example/build?a&b",
			"launchpad_instance": "devel", "launchpad_server_url": "launchpad.test",
		}, nil},
		{"bzr", builders.Args{"git_repository": nil, "branch": "lp:project"}, nil},
		{"git-path-branch", builders.Args{"git_path": "next"}, nil},
		{"git-path-full-branch", builders.Args{"git_path": "refs/heads/next/1"}, nil},
		{"git-path-merge", builders.Args{"git_path": "refs/merge/7/head"}, nil},
		{"shallow-branch", withArgs(fetchServiceArgs(), builders.Args{"git_path": "next"}), nil},
		{"shallow-full-branch", withArgs(fetchServiceArgs(), builders.Args{"git_path": "refs/heads/next/1"}), nil},
		{"shallow-tag", withArgs(fetchServiceArgs(), builders.Args{"git_path": "refs/tags/1.0"}), nil},
		{"shallow-commit", withArgs(fetchServiceArgs(), builders.Args{"git_path": strings.Repeat("01", 20)}), nil},
		{"shallow-commit-refused", withArgs(fetchServiceArgs(), builders.Args{"git_path": strings.Repeat("01", 20)}), func(l *lab) {
			l.target.Script("git -c protocol.version=2 fetch", fake.Answer{Stderr: "fatal: not our ref\n", Code: 128})
		}},
		{"no-submodules", nil, fails("git submodule")},
		{"no-snap", nil, func(l *lab) { snapcraftMakes(l, "x.comp") }},
		{"sample", sampleArgs(t, "snap"), withProxy},

		{"fail-install-package", nil, fails("apt-get")},
		{"fail-install-snap", builders.Args{"channels": map[string]any{"snapcraft": "stable"}}, fails("snap install")},
		{"fail-install-refresh", builders.Args{"channels": map[string]any{"core": "stable"}}, fails("snap refresh")},
		{"fail-install-certificate", fetchServiceArgs(), fails("update-ca-certificates")},
		{"fail-repo", builders.Args{"git_repository": "https://user:macaroon@git.test/repo"}, fails("git clone")},
		{"fail-repo-ref", builders.Args{"git_path": "none"}, fails("git checkout")},
		{"fail-repo-revision", nil, fails("git rev-parse")},
		{"fail-pull", nil, fails("snapcraft pull")},
		{"fail-pull-tarball", builders.Args{"build_source_tarball": true}, fails("tar")},
		{"fail-build", nil, func(l *lab) { l.target.Script("snapcraft", fake.Answer{}, fake.Answer{Stdout: "boom\n", Code: 2}) }},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("apt-get", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			snapcraftMakes(l, "test-snap_1_amd64.snap", "test-snap_1_amd64.manifest", "another.snap")
			if c.prepare != nil {
				c.prepare(l)
			}
			b, err := newBuilder(t, "snap", snapArgs(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			l.golden("snap/"+c.golden, b.Build(t.Context(), l.env))
			if text := l.target.Transcript() + l.log.String(); strings.Contains(text, "proxy-secret") {
				t.Error("the password of the proxy reaches the target or the log")
			}
		})
	}
}

func TestSnapEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	for _, command := range []string{"apt-get", "git clone", "git submodule", "snapcraft pull", "sha512sum"} {
		t.Run(command, func(t *testing.T) {
			l := newContainerLab(t)
			snapcraftMakes(l, "a.snap")
			ctx, cancel := context.WithCancelCause(t.Context())
			l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
				cancel(aborted)
				return nil
			}})
			b, err := newBuilder(t, "snap", snapArgs(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var judged *verdict.BuildError
			if err := b.Build(ctx, l.env); !errors.Is(err, aborted) || errors.As(err, &judged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSnapGathers(t *testing.T) {
	l := newContainerLab(t)
	for _, name := range []string{"a.snap", "a.manifest", "a.debug", "a.dpkg.yaml", "a.comp", "a.txt", "snap", "dir/b.snap"} {
		l.target.AddFile("/build/test-snap/"+name, name, 0o644)
	}
	b, err := newBuilder(t, "snap", snapArgs(), builders.Args{"build_source_tarball": true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a.comp", "a.debug", "a.dpkg.yaml", "a.manifest", "a.snap"}
	for range 2 {
		found, err := l.results(t.Context(), b)
		if names := slices.Sorted(maps.Keys(found)); err != nil || !slices.Equal(names, want) || found["a.snap"] != "a.snap" {
			t.Errorf("gathered %q, %v; want %q", found, err, want)
		}
		l.target.AddFile("/build/test-snap.tar.gz", "source", 0o644)
		want = append(want, "test-snap.tar.gz")
	}
	l.target.AddFile("/build/test-snap/dir/a.manifest", "below", 0o644)
	below, err := newBuilder(t, "snap", snapArgs(), builders.Args{"build_source_tarball": true, "build_path": "dir"})
	if err != nil {
		t.Fatal(err)
	}
	found, err := l.results(t.Context(), below)
	if names := slices.Sorted(maps.Keys(found)); err != nil || !slices.Equal(names, []string{"a.manifest", "b.snap", "test-snap.tar.gz"}) || found["a.manifest"] != "below" {
		t.Errorf("gathered %q, %v from the build path", found, err)
	}
	full := errors.New("disk full")
	wantError(t, b.Gather(t.Context(), l.env, func(string, io.ReadCloser) error { return full }), "disk full")
	l.target.AddFile("/build/test-snap/a\nb.snap", "", 0o644)
	_, err = l.results(t.Context(), b)
	wantError(t, err, `cannot gather "a\nb.snap"`)
	l.target.Script("find", fake.Answer{Code: 1})
	_, err = l.results(t.Context(), b)
	wantError(t, err, "cannot list /build/test-snap")
}

// Managers always send these; builds without them are accepted, and fail.
func TestIncompleteBuildsFail(t *testing.T) {
	for name, c := range map[string]struct {
		args builders.Args
		err  string
	}{
		"no source":                {builders.Args{"git_repository": nil}, "branch, git_repository: exactly one of them is required"},
		"no certificate":           {builders.Args{"use_fetch_service": true}, "secrets.fetch_service_mitm_certificate is required"},
		"a certificate of nothing": {withCertificate("%"), "secrets.fetch_service_mitm_certificate: expected a certificate in base64: there is nothing in it"},
		"a certificate cut short":  {withCertificate("Q0VSVElGSUNBVEU"), "secrets.fetch_service_mitm_certificate: expected a certificate in base64: the padding is incorrect"},
		"secrets, but no such one": {builders.Args{"use_fetch_service": true, "secrets": map[string]any{}}, "secrets.fetch_service_mitm_certificate is required"},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := newBuilder(t, "snap", snapArgs(), c.args)
			if err != nil {
				t.Fatal(err)
			}
			err = b.Build(t.Context(), newContainerLab(t).env)
			wantError(t, err, c.err)
			if outcome(err) != verdict.PackageFail {
				t.Errorf("got %v", outcome(err))
			}
		})
	}
}

func TestSnapStore(t *testing.T) {
	for _, c := range []struct {
		name, store string
		status      int
		more        int
		commands    []string
		err         string
	}{
		{"a store", "MyStore", 200, 0, []string{"snap ack /dev/stdin", "snap set core proxy.store=MyStore"}, ""},
		{"no id", "", 200, 0, []string{"snap ack /dev/stdin"}, ""},
		{"a request that is refused", "MyStore", 400, 0, nil, "answers 400"},
		{"no assertions", "MyStore", 404, 0, nil, "answers 404"},
		{"assertions that are cut nowhere", "MyStore", 200, 1 << 20, nil, "cannot get the assertions of the snap store proxy: it is larger than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.String() != "/v2/auth/store/assertions" {
					t.Errorf("asked for %s", r.URL)
				}
				if c.store != "" {
					w.Header().Set("X-Assertion-Store-Id", c.store)
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, "type: store\n"+strings.Repeat("x", c.more))
			}))
			defer server.Close()
			l := newContainerLab(t)
			snapcraftMakes(l, "a.snap")
			l.env.Site.SnapStore = server.URL + "/some/path"
			b, err := newBuilder(t, "snap", snapArgs(), nil)
			if err != nil {
				t.Fatal(err)
			}
			err = b.Build(t.Context(), l.env)
			if c.err != "" {
				wantError(t, err, c.err)
				if outcome(err) != verdict.PackageFail {
					t.Errorf("got %v", outcome(err))
				}
			}
			var commands []string
			for _, command := range l.target.Commands() {
				if strings.HasPrefix(command, "snap ") {
					commands = append(commands, command)
				}
			}
			if !slices.Equal(commands, c.commands) || c.err == "" && !strings.Contains(l.target.Transcript(), "| type: store\n") {
				t.Errorf("ran %q\n%s", commands, l.target.Transcript())
			}
		})
	}
}

// containerArgErrors are wrong arguments of every type with a source and a
// proxy, and what the error says.
func containerArgErrors() map[string]struct {
	args builders.Args
	err  string
} {
	type c = struct {
		args builders.Args
		err  string
	}
	secret := "http://user:proxy-secret@"
	return map[string]c{
		"no name":                        {builders.Args{"name": nil}, "name is required"},
		"a name of the wrong type":       {builders.Args{"name": int64(1)}, "name: expected a string, got int"},
		"a name with a slash":            {builders.Args{"name": "../x"}, "name: expected a single path component"},
		"a name like an option":          {builders.Args{"name": "-x"}, `name: expected no "-" at its start`},
		"two sources":                    {builders.Args{"branch": "lp:x"}, "branch, git_repository: exactly one of them is required"},
		"a path of no repository":        {builders.Args{"git_repository": nil, "branch": "lp:x", "git_path": "x"}, "git_path: expected nothing without git_repository"},
		"a repository of the wrong type": {builders.Args{"git_repository": int64(1)}, "git_repository: expected a string, got int"},
		"a repository like an option":    {builders.Args{"git_repository": "--upload-pack=x"}, `git_repository: expected no "-" at its start`},
		"a branch like an option":        {builders.Args{"git_repository": nil, "branch": "-x"}, `branch: expected no "-" at its start`},
		"a path like an option":          {builders.Args{"git_path": "-x"}, `git_path: expected no "-" at its start`},
		"a path of two lines":            {builders.Args{"git_path": "a\nb"}, "git_path: expected a single line"},
		"a proxy of the wrong type":      {builders.Args{"proxy_url": int64(1)}, "proxy_url: expected a string, got int"},
		"a proxy that is no URL":         {builders.Args{"proxy_url": strings.TrimPrefix(secret, "http://")}, "proxy_url: expected a URL"},
		"an endpoint that is no URL":     {builders.Args{"revocation_endpoint": "x"}, "revocation_endpoint: expected a URL"},
		"a text as a boolean":            {builders.Args{"use_fetch_service": "yes"}, "use_fetch_service: expected a boolean, got string"},
		"secrets of the wrong type":      {builders.Args{"use_fetch_service": true, "secrets": "x"}, "secrets: expected a struct, got string"},
		"a certificate of the wrong type": {
			builders.Args{"use_fetch_service": true, "secrets": map[string]any{"fetch_service_mitm_certificate": int64(1)}},
			"secrets.fetch_service_mitm_certificate: expected a string, got int",
		},
		"a certificate of bytes": {
			builders.Args{"use_fetch_service": true, "secrets": map[string]any{"fetch_service_mitm_certificate": []byte("PEM")}},
			"secrets.fetch_service_mitm_certificate: expected a string, got base64",
		},
	}
}

func TestSnapArguments(t *testing.T) {
	cases := containerArgErrors()
	type c = struct {
		args builders.Args
		err  string
	}
	cases["channels of the wrong type"] = c{builders.Args{"channels": []any{"x"}}, "channels: expected a struct, got array"}
	cases["a channel of the wrong type"] = c{builders.Args{"channels": map[string]any{"core": nil}}, "channels.core: expected a string, got nil"}
	cases["an empty channel"] = c{builders.Args{"channels": map[string]any{"core": ""}}, "channels.core is required"}
	cases["a snap like an option"] = c{builders.Args{"channels": map[string]any{"--dangerous": "edge"}}, "channels.--dangerous: expected the name of a snap"}
	cases["a request id of the wrong type"] = c{builders.Args{"build_request_id": "13"}, "build_request_id: expected an integer, got string"}
	cases["a request id with a fraction"] = c{builders.Args{"build_request_id": 1.5}, "build_request_id: expected an integer, got double"}
	cases["a time of the wrong type"] = c{builders.Args{"build_request_timestamp": int64(1)}, "build_request_timestamp: expected a string, got int"}
	cases["architectures of the wrong type"] = c{builders.Args{"target_architectures": "amd64"}, "target_architectures: expected an array of strings, got string"}
	for _, key := range []string{"build_source_tarball", "private", "disable_proxy_after_pull"} {
		cases[key+" of the wrong type"] = c{builders.Args{key: "x"}, key + ": expected a boolean, got string"}
	}
	for _, key := range []string{"build_url", "launchpad_instance", "launchpad_server_url", "craft_platform"} {
		cases[key+" of the wrong type"] = c{builders.Args{key: int64(1)}, key + ": expected a string, got int"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t, "snap", snapArgs(), c.args)
			wantError(t, err, c.err)
			if err != nil && strings.Contains(err.Error(), "proxy-secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestParseProxy(t *testing.T) {
	p, err := builders.ParseProxy(withArgs(fetchServiceArgs(), builders.Args{"disable_proxy_after_pull": true}))
	if err != nil || p.UpstreamURL != upstream || p.RevocationEndpoint != revocation || !p.UseFetchService ||
		p.Certificate != "Q0VSVElGSUNBVEUK" || !p.DisableAfterPull {
		t.Errorf("got %+v, %v", p, err)
	}
	p, err = builders.ParseProxy(builders.Args{"use_fetch_service": nil, "secrets": map[string]any{"of": "another kind"}, "disable_proxy_after_pull": true})
	if err != nil || p.UseFetchService || p.UpstreamURL != "" || p.DisableAfterPull {
		t.Errorf("without a proxy: %+v, %v", p, err)
	}
}
