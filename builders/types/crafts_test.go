package types_test

import (
	"context"
	"errors"
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

// craftTypes are the types that a craft tool builds, with that tool and the
// suffix of what it makes.
func craftTypes() map[string][2]string {
	return map[string][2]string{"charm": {"charmcraft", ".charm"}, "rock": {"rockcraft", ".rock"}, "craft": {"sourcecraft", ".tar.xz"}}
}

func craftArgs() builders.Args {
	return builders.Args{"name": "test-craft", "git_repository": "https://git.test/repo"}
}

// packs scripts the tool so that it leaves files.
func packs(l *lab, tool, dir string, names ...string) {
	l.target.AddFile("/home/buildd/test-craft/.git/HEAD", "", 0o644)
	l.target.Script(tool+" pack", fake.Answer{Stdout: "Packed\n", Do: func(_ context.Context, f *fake.Target, _ backends.Command) error {
		for _, name := range names {
			f.AddFile(dir+"/"+name, "content of "+name, 0o644)
		}
		return nil
	}})
}

func TestCrafts(t *testing.T) {
	proxy := builders.Args{"proxy_url": upstream, "revocation_endpoint": revocation}
	withProxy := func(l *lab) { l.withProxy() }
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	for tag, tool := range craftTypes() {
		for _, c := range []struct {
			golden  string
			args    builders.Args
			prepare func(l *lab)
		}{
			{"plain", nil, nil},
			{"channels", builders.Args{"channels": map[string]any{tool[0]: "stable", "core22": "edge", "core": "candidate"}}, nil},
			{"proxy", proxy, withProxy},
			{"fetch-service", withArgs(fetchServiceArgs(), builders.Args{"git_path": "next"}), withProxy},
			{"build-path", builders.Args{"build_path": "sub/dir"}, nil},
			{"platform", builders.Args{"craft_platform": "ubuntu-24.04:amd64"}, nil},
			{"launchpad", builders.Args{"launchpad_instance": "devel", "launchpad_server_url": "launchpad.test"}, nil},
			{"bzr", builders.Args{"git_repository": nil, "branch": "lp:project"}, nil},
			{"git-path", builders.Args{"git_path": "refs/tags/1.0"}, nil},
			{"private", builders.Args{"private": true, "git_repository": "https://user:macaroon@git.test/repo"}, nil},
			{"sample", withArgs(sampleArgs(t, tag), builders.Args{"name": "test-craft"}), withProxy},

			{"fail-install-package", nil, fails("apt-get")},
			{"fail-install-snap", nil, fails("snap install")},
			{"fail-repo", nil, fails("git clone")},
			{"fail-build", nil, fails(tool[0] + " pack")},
			{"fail-path-outside", builders.Args{"build_path": "../other"}, nil},
			{"fail-host", nil, func(l *lab) {
				l.target.Script("apt-get", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}})
			}},
		} {
			t.Run(tag+"/"+c.golden, func(t *testing.T) {
				l := newContainerLab(t)
				packs(l, tool[0], "/home/buildd/test-craft", "a_1"+tool[1])
				if c.prepare != nil {
					c.prepare(l)
				}
				b, err := newBuilder(t, tag, craftArgs(), c.args)
				if err != nil {
					t.Fatal(err)
				}
				l.golden(tag+"/"+c.golden, b.Build(t.Context(), l.env))
				if text := l.target.Transcript() + l.log.String(); strings.Contains(text, "proxy-secret") {
					t.Error("the password of the proxy reaches the target or the log")
				}
			})
		}
	}
}

func TestCraftScansForMalware(t *testing.T) {
	scan, mirror := builders.Args{"scan_malware": true}, "https://clamav.test/db"
	for _, c := range []struct {
		golden, dir string
		args        builders.Args
		mirror      string
		prepare     func(l *lab)
	}{
		{"scan", "sub", builders.Args{"build_path": "sub"}, "", nil},
		{"scan-mirror", "", nil, mirror, nil},
		{"scan-fetch-service", "", fetchServiceArgs(), "", nil},
		{"scan-fetch-service-mirror", "", fetchServiceArgs(), mirror, nil},
		{"scan-nothing", "", nil, "", func(l *lab) { packs(l, "sourcecraft", "/home/buildd/test-craft", "a.deb", "dir/a.tar.xz") }},
		{"scan-no-folder", "", nil, "", func(l *lab) {
			l.target.Script("sourcecraft pack", fake.Answer{Do: func(_ context.Context, f *fake.Target, _ backends.Command) error {
				f.RemoveFile("/home/buildd/test-craft/.git/HEAD")
				return nil
			}})
		}},
		{"fail-malware", "", nil, "", func(l *lab) {
			l.target.Script("clamscan", fake.Answer{Stdout: "/home/buildd/test-craft/a.tar.xz: Eicar-Signature FOUND\n", Code: 1})
		}},
		{"fail-scanner", "", nil, "", func(l *lab) { l.target.Script("clamscan", fake.Answer{Stderr: "ERROR: Can't open file\n", Code: 2}) }},
		{"fail-definitions", "", nil, "", func(l *lab) { l.target.Script("freshclam", fake.Answer{Stderr: "ERROR: no mirror\n", Code: 58}) }},
		{"fail-definitions-settings", "", nil, mirror, func(l *lab) { l.target.RemoveFile("/etc/clamav/freshclam.conf") }},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			l.withProxy()
			l.env.Site.ClamAVDatabase = c.mirror
			l.target.AddFile("/etc/clamav/freshclam.conf", "Foreground false\n", 0o644)
			b, err := newBuilder(t, "craft", craftArgs(), withArgs(scan, c.args))
			if err != nil {
				t.Fatal(err)
			}
			packs(l, "sourcecraft", "/home/buildd/test-craft/"+c.dir, "b.tar.xz", "a.tar.xz", "a.txt")
			if c.prepare != nil {
				c.prepare(l)
			}
			l.golden("craft/"+c.golden, b.Build(t.Context(), l.env))
		})
	}
}

// Only sourcecraft's products may be scanned; nobody else gets the scanner.
func TestOthersAreNotScannedForMalware(t *testing.T) {
	for tag, args := range map[string]builders.Args{"charm": {"scan_malware": true}, "rock": {"scan_malware": true}, "craft": {"scan_malware": false}} {
		l := newContainerLab(t)
		packs(l, craftTypes()[tag][0], "/home/buildd/test-craft", "a"+craftTypes()[tag][1])
		b, err := newBuilder(t, tag, craftArgs(), args)
		if err == nil {
			err = b.Build(t.Context(), l.env)
		}
		if text := l.target.Transcript() + l.log.String(); err != nil || strings.Contains(text, "clam") || strings.Contains(text, "malware") {
			t.Errorf("%s: %v\n%s", tag, err, text)
		}
	}
}

func TestCraftsUseTheSnapStoreProxy(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Assertion-Store-Id", "MyStore")
	}))
	defer server.Close()
	for tag := range craftTypes() {
		l := newContainerLab(t)
		l.env.Site.SnapStore = server.URL
		b, err := newBuilder(t, tag, craftArgs(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Build(t.Context(), l.env); err != nil || !strings.Contains(l.target.Transcript(), "run snap set core proxy.store=") {
			t.Errorf("%s: %v\n%s", tag, err, l.target.Transcript())
		}
	}
}

// registryArgs are the credentials of package registries.
func registryArgs(variables map[string]any) builders.Args {
	return builders.Args{"environment_variables": variables}
}

func mavenAllArgs() builders.Args {
	return builders.Args{"MAVEN_REPO_URL": "https://maven.test/all?a&b=\"c\"", "MAVEN_REPO_AUTH": "reader:all-token:1"}
}

// publisherArgs are what only the manager's publisher uses.
func publisherArgs() builders.Args {
	return builders.Args{
		"MAVEN_PUBLISH_URL": "https://maven.test/publish", "MAVEN_PUBLISH_AUTH": "publisher:publish-token-1",
		"CARGO_PUBLISH_URL": "https://cargo.test/publish", "CARGO_PUBLISH_AUTH": "publisher:publish-token-2",
	}
}

func TestCraftRegistries(t *testing.T) {
	both := map[string]any{
		"CARGO_ARTIFACTORY1_URL": "sparse+https://h/index/", "CARGO_ARTIFACTORY1_READ_AUTH": "user:cargo-token-1",
		"CARGO_TWO_PARTS_URL": "https://two/", "CARGO_TWO_OTHERS_URL": "https://others/", "CARGO_A-B_URL": "https://a-b/", "PATH": "/never/exported", "NOTE": "never\nlooked at",
		"MAVEN_ARTIFACTORY2_URL": "https://maven/a?b&c=<d>", "MAVEN_ARTIFACTORY2_READ_AUTH": "us&er:maven<token>:2",
		"MAVEN_OPEN_URL": "https://open/", "MAVEN_CLOSED_READ_AUTH": "someone:closed-token",
	}
	for _, c := range []struct {
		golden    string
		variables map[string]any
		args      builders.Args
	}{
		{"registries", both, nil},
		{"registries-bzr", both, builders.Args{"git_repository": nil, "branch": "lp:project"}},
		{"registries-maven-without-effect", map[string]any{"MAVEN_OPTS": "-X"}, nil},
		{"registries-maven-all", mavenAllArgs(), nil},
		{"registries-maven-all", withArgs(mavenAllArgs(), publisherArgs()), nil},
		{"registries-maven-all-and-others", withArgs(mavenAllArgs(), both, builders.Args{"MAVEN_REPO_READ_AUTH": "old:closed-token"}), nil},
		{"registries-maven-all-open", map[string]any{"MAVEN_REPO_URL": "https://maven.test/all", "MAVEN_REPO_AUTH": ""}, nil},
		{"registries-maven-all-credentials", map[string]any{"MAVEN_REPO_AUTH": "some<&>\"one':all-token\"'<&>:ä"}, nil},
		{"registries-maven-all-read-auth", map[string]any{"MAVEN_REPO_URL": "https://maven.test/all", "MAVEN_REPO_READ_AUTH": "old:closed-token"}, nil},
		{"registries-none", publisherArgs(), nil},
		{"registries-none", map[string]any{
			"CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS": "cargo:token", "CARGO_X_AUTH": "user:closed-token", "CARGO_X_READ_AUTH": "",
		}, nil},
		{"registries-maven-without-effect", map[string]any{"MAVEN_X_AUTH": "user:closed-token"}, nil},
		{"fail-registry-all-without-user", map[string]any{"MAVEN_REPO_AUTH": "no colon here"}, nil},
		{"registries-none", map[string]any{}, nil},
		{"fail-registry-without-user", map[string]any{"CARGO_X_READ_AUTH": "no colon here"}, nil},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newContainerLab(t)
			packs(l, "sourcecraft", "/home/buildd/test-craft", "a.tar.xz")
			b, err := newBuilder(t, "craft", craftArgs(), withArgs(registryArgs(c.variables), c.args))
			if err != nil {
				t.Fatal(err)
			}
			l.golden("craft/"+c.golden, b.Build(t.Context(), l.env))
			for _, secret := range []string{"cargo-token", "maven<token>", "closed-token", "no colon here", "all-token", "publish"} {
				if strings.Contains(l.log.String(), secret) {
					t.Errorf("%s reaches the log", secret)
				}
			}
		})
	}
	found := builders.Secrets(registryArgs(withArgs(both, mavenAllArgs(), publisherArgs())))
	for _, secret := range []string{
		"cargo-token-1", "maven<token>:2", "closed-token", "all-token:1",
		"publish-token-1", "publish-token-2", "https://maven.test/publish", "https://cargo.test/publish",
	} {
		if !slices.Contains(found, secret) {
			t.Errorf("%s is not redacted", secret)
		}
	}
}

func TestCraftResults(t *testing.T) {
	for tag, tool := range craftTypes() {
		l := newContainerLab(t)
		packs(l, tool[0], "/home/buildd/test-craft/sub", "b"+tool[1], "a"+tool[1], "a.manifest", "a.txt")
		b, err := newBuilder(t, tag, craftArgs(), builders.Args{"build_path": "sub"})
		if err == nil {
			err = b.Build(t.Context(), l.env)
		}
		if err != nil {
			t.Fatal(err)
		}
		found, err := l.results(t.Context(), b)
		want := 2
		if tag == "charm" {
			want = 3 // the manifest, too
		}
		if err != nil || len(found) != want || found["a"+tool[1]] != "content of a"+tool[1] {
			t.Errorf("%s: %v, %v", tag, found, err)
		}

		l = newContainerLab(t)
		b, _ = newBuilder(t, tag, craftArgs(), nil)
		found, err = l.results(t.Context(), b)
		if err != nil || len(found) != 0 || !strings.Contains(l.log.String(), "WARNING: the build left no folder /home/buildd/test-craft") {
			t.Errorf("%s without a folder: %v, %v\n%s", tag, found, err, l.log.String())
		}
		l.target.AddFile("/home/buildd/test-craft/README", "", 0o644)
		found, err = l.results(t.Context(), b)
		if err != nil || len(found) != 0 || !strings.Contains(l.log.String(), "WARNING: the build made no "+tool[1]) {
			t.Errorf("%s without a product: %v, %v\n%s", tag, found, err, l.log.String())
		}
	}
}
