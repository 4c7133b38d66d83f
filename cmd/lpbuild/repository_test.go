package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lpbuildd/ordered"
)

// runGit runs git in a folder, with no configuration but this.
func runGit(t *testing.T, folder string, args ...string) string {
	t.Helper()
	out, err := tryGit(t, folder, args...)
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func tryGit(t *testing.T, folder string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = folder
	others := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	cmd.Env = append(others, "LC_ALL=C.UTF-8", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@localhost", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@localhost")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// worktree makes a repository with two commits of files, and an image. The
// first commit is tagged v1. It becomes the working folder.
func worktree(t *testing.T, files map[string]string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	folder := filepath.Join(t.TempDir(), "Hello World.git")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	runGit(t, folder, "init", "--quiet", "--initial-branch=main")
	runGit(t, folder, "commit", "--quiet", "--allow-empty", "--message=1")
	runGit(t, folder, "tag", "v1")
	for name, content := range files {
		if err := os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), content)
	}
	runGit(t, folder, "add", "--all")
	runGit(t, folder, "commit", "--quiet", "--allow-empty", "--message=2")
	write(t, filepath.Join(folder, "..", "base.tar"), "the image")
	t.Chdir(folder)
	return folder
}

// run runs lpbuild run on the repository.
func (f *fakeBuilder) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return f.lpbuild(t.Context(), append([]string{"run", "--image", "../base.tar", "--series", "noble", "--serve-address", "127.0.0.1", "-o", t.TempDir()}, args...)...)
}

func TestABuildCanCloneALocalRepository(t *testing.T) {
	folder := worktree(t, map[string]string{"Dockerfile": "FROM scratch\n"})
	head := runGit(t, folder, "rev-parse", "HEAD")
	first := runGit(t, folder, "rev-parse", "v1^{commit}")
	runGit(t, folder, "branch", "both", first)
	runGit(t, folder, "tag", "both", first)
	tests := []struct {
		name, checkout  string
		args            []string
		path, id, label string
	}{
		{name: "the branch that is checked out", checkout: "main", path: "main", id: head},
		{name: "a tag", checkout: "main", args: []string{"--git-path", "v1"}, path: "v1", id: first},
		{name: "a tag by its full name", checkout: "main", args: []string{"--git-path", "refs/tags/v1"}, path: "v1", id: first},
		{name: "a name with two meanings", checkout: "main", args: []string{"--git-path", "both"}, path: first, id: first},
		{name: "another expression", checkout: "main", args: []string{"--git-path", "main~1"}, path: first, id: first},
		{name: "a commit that no branch has", checkout: "--detach", path: "", id: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runGit(t, folder, "checkout", "--quiet", tt.checkout)
			if tt.path == "" {
				runGit(t, folder, "commit", "--quiet", "--allow-empty", "--message=3")
				tt.id = runGit(t, folder, "rev-parse", "HEAD")
				tt.path = tt.id
			}
			var url string
			f := newFakeBuilder(t, func(f *fakeBuilder) {
				url, _ = f.request.Args["git_repository"].(string)
				shallow, full := t.TempDir(), t.TempDir()
				if tt.path == tt.id { // as builders do it
					runGit(t, shallow, "init", "--quiet", "x")
					runGit(t, shallow+"/x", "fetch", "--depth", "1", url, tt.path)
					runGit(t, shallow+"/x", "checkout", "--quiet", "FETCH_HEAD")
				} else {
					runGit(t, shallow, "clone", "--depth", "1", "-b", tt.path, "--single-branch", url, "x")
				}
				if got := runGit(t, shallow+"/x", "rev-parse", "HEAD"); got != tt.id {
					t.Errorf("a shallow clone has %s, want %s", got, tt.id)
				}
				if got := runGit(t, shallow+"/x", "rev-list", "--count", "HEAD"); got != "1" {
					t.Errorf("a shallow clone has %s commits", got)
				}
				runGit(t, full, "clone", "--no-checkout", url, "x")
				runGit(t, full+"/x", "checkout", "--quiet", tt.path)
				if got := runGit(t, full+"/x", "rev-parse", "HEAD"); got != tt.id {
					t.Errorf("a clone has %s, want %s", got, tt.id)
				}
				ends("OK", nil)(f)
			})
			code, _, stderr := f.run(t, append(tt.args, "oci")...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if got := f.request.Args["git_path"]; got != tt.path {
				t.Errorf("git_path is %q, want %q", got, tt.path)
			}
			if _, err := http.Get(url); err == nil {
				t.Error("it is still served")
			}
			if left, err := filepath.Glob(os.Getenv("TMPDIR") + "/lpbuild-*"); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestNobodyCanChangeAServedRepository(t *testing.T) {
	folder := worktree(t, nil)
	f := newFakeBuilder(t, func(f *fakeBuilder) {
		url, _ := f.request.Args["git_repository"].(string)
		if out, err := tryGit(t, folder, "push", url, "main:other"); err == nil {
			t.Errorf("pushed: %s", out)
		}
		secret, _ := strings.CutSuffix(url, "source.git")
		for _, path := range []string{"", "source.git", "source.git/HEAD", "source.git/../../../etc/passwd", "x.git/info/refs", "source.git/objects/info/packs"} {
			reply, err := http.Get(secret + path)
			if err != nil {
				t.Fatal(err)
			}
			if err := reply.Body.Close(); err != nil || reply.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d", path, reply.StatusCode)
			}
		}
		ends("OK", nil)(f)
	})
	if code, _, stderr := f.run(t, "oci", "."); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	if _, err := tryGit(t, folder, "rev-parse", "--verify", "other"); err == nil {
		t.Error("the original has changed")
	}
}

func TestARequestInPiecesIsServed(t *testing.T) {
	worktree(t, nil)
	f := newFakeBuilder(t, func(f *fakeBuilder) {
		url, _ := f.request.Args["git_repository"].(string)
		unknownLength := io.MultiReader(strings.NewReader("0014command=ls-refs\n0000"))
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/git-upload-pack", unknownLength)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/x-git-upload-pack-request")
		q.Header.Set("Git-Protocol", "version=2")
		reply, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		if err != nil || reply.Body.Close() != nil || !strings.Contains(string(text), "refs/heads/main") {
			t.Errorf("status %s: %q, %v", reply.Status, text, err)
		}
		ends("OK", nil)(f)
	})
	if code, _, stderr := f.run(t, "oci", "."); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
}

func TestRunMakesTheArgumentsOfABuildFromARepository(t *testing.T) {
	snap := map[string]string{"snap/snapcraft.yaml": "# x\nname: 'my-snap' # y\nversion: 1\nparts:\n  name: other\n", "snapcraft.yaml": "name: unused\n"}
	base := map[string]any{"series": "noble", "arch_tag": "riscv64", "archive_private": false, "image_type": "chroot"}
	const file = `{"arch_tag": "file", "name": "file", "channels": {"a": "1", "b": "1"}, "build_request_id": 7, "git_repository": "http://host.example/x/Foo_Bar.git",
		"git_path": "b", "proxy_url": "http://file/", "image_type": "lxd"}`
	tests := []struct {
		name  string
		files map[string]string
		args  []string
		want  map[string]any
	}{
		{
			name: "a snap", files: snap,
			args: []string{"snap", ".", "--channel", "snapcraft=latest/edge", "--target-arch", "armhf", "--source-tarball", "--private", "--image-type", "lxd"},
			want: map[string]any{
				"name": "my-snap", "git_path": "main", "git_repository": "ours", "channels": ordered.Struct{{Name: "snapcraft", Value: "latest/edge"}}, "image_type": "lxd",
				"target_architectures": []any{"armhf"}, "build_source_tarball": true, "private": true, "archive_private": true,
			},
		},
		{
			name: "a snap in a folder", files: map[string]string{"a/b/snap/snapcraft.yaml": "name: deep\n"},
			args: []string{"snap", ".", "--build-path", "a/b"},
			want: map[string]any{"name": "deep", "git_path": "main", "git_repository": "ours", "build_path": "a/b"},
		},
		{
			name: "a fetch service", files: snap,
			args: []string{"snap", "--fetch-service-certificate", "snapcraft.yaml", "--revocation-endpoint", "http://host.example/r", "--disable-proxy-after-pull"},
			want: map[string]any{
				"name": "my-snap", "git_path": "main", "git_repository": "ours", "proxy_url": "http://user:secret@environment.example/", "use_fetch_service": true,
				"revocation_endpoint": "http://host.example/r", "disable_proxy_after_pull": true,
				"secrets": ordered.Struct{{Name: "fetch_service_mitm_certificate", Value: "bmFtZTogdW51c2VkCg=="}},
			},
		},
		{
			name: "an image",
			args: []string{"oci", ".", "--build-arg", "A=b=c", "--build-file", "Dockerfile.x", "--build-path", "sub", "--archive", "deb http://host.example/ noble main"},
			want: map[string]any{
				"name": "hello-world", "git_path": "main", "git_repository": "ours", "build_args": ordered.Struct{{Name: "A", Value: "b=c"}, {Name: "LAUNCHPAD_BUILD_ARCH", Value: "riscv64"}},
				"build_file": "Dockerfile.x", "build_path": "sub", "archives": []any{"deb http://host.example/ noble main"},
			},
		},
		{
			name: "an image for a variant",
			args: []string{"oci", ".", "--arch", "amd64", "--variant", "amd64v3"},
			want: map[string]any{
				"name": "hello-world", "git_path": "main", "git_repository": "ours", "build_args": ordered.Struct{{Name: "LAUNCHPAD_BUILD_ARCH", Value: "amd64v3"}},
				"arch_tag": "amd64v3", "abi_tag": "amd64", "isa_tag": "amd64v3",
			},
		},
		{
			name: "another variant than that of a file", files: snap,
			args: []string{"snap", ".", "--args", "../variant.json", "--variant", "amd64v4"},
			want: map[string]any{
				"name": "my-snap", "git_path": "main", "git_repository": "ours",
				"arch_tag": "amd64v4", "abi_tag": "amd64", "isa_tag": "amd64v4",
			},
		},
		{
			name: "another architecture than that of a file", files: snap,
			args: []string{"snap", ".", "--args", "../variant.json", "--arch", "armhf"},
			want: map[string]any{"name": "my-snap", "git_path": "main", "git_repository": "ours", "arch_tag": "armhf"},
		},
		{
			name: "a URL",
			args: []string{"snap", "https://user:secret@host.example/x/Some.git", "--git-path", "stable"},
			want: map[string]any{"name": "some", "git_path": "stable", "git_repository": "https://user:secret@host.example/x/Some.git"},
		},
		{
			name: "the source of a file",
			args: []string{"snap", "--args", "../file.json", "--channel", "b=2", "--arg", "name=single"},
			want: map[string]any{
				"arch_tag": "file", "name": "single", "channels": ordered.Struct{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}, "build_request_id": int64(7), "image_type": "lxd",
				"git_repository": "http://host.example/x/Foo_Bar.git", "git_path": "b", "proxy_url": "http://file/",
			},
		},
		{
			name: "a folder instead of the source of a file",
			args: []string{"snap", ".", "--args", "../file.json", "--git-path", "v1", "--arch", "flag", "--name", "flag", "--proxy-url", "http://flag/"},
			want: map[string]any{
				"arch_tag": "flag", "name": "flag", "channels": ordered.Struct{{Name: "a", Value: "1"}, {Name: "b", Value: "1"}}, "build_request_id": int64(7), "image_type": "lxd",
				"git_repository": "ours", "git_path": "v1", "proxy_url": "http://flag/",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			worktree(t, tt.files)
			t.Setenv("LPBUILD_PROXY_URL", "")
			if tt.want["use_fetch_service"] != nil {
				t.Setenv("LPBUILD_PROXY_URL", "http://user:secret@environment.example/")
			}
			write(t, "../file.json", file)
			write(t, "../variant.json", `{"arch_tag": "amd64v3", "abi_tag": "amd64", "isa_tag": "amd64v3"}`)
			f := newFakeBuilder(t, ends("OK", nil))
			logs("the log\n")(f)
			code, stdout, stderr := f.run(t, tt.args...)
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if log := fmt.Sprintf("/%s_%s.build\n", f.request.Args["name"], f.request.Args["arch_tag"]); !strings.Contains(stderr, log) {
				t.Errorf("%q is not in %q", log, stderr)
			}
			want := maps.Clone(base)
			maps.Copy(want, tt.want)
			got := f.request.Args
			if url, _ := got["git_repository"].(string); strings.HasPrefix(url, "http://127.0.0.1:") && strings.HasSuffix(url, "/source.git") {
				got["git_repository"] = "ours"
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			if f.request.Tag != tt.args[0] || len(f.request.Files) != 0 {
				t.Errorf("got type %s and files %v", f.request.Tag, f.request.Files)
			}
			if strings.Contains(stdout+stderr, "secret") {
				t.Errorf("a password is in %q, %q", stdout, stderr)
			}
		})
	}
}

// Recipes and live file systems have no repository, but arguments only.
func TestRunBuildsWithoutARepository(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	folder := filepath.Join(t.TempDir(), "empty")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
	write(t, "../base.tar", "the image")
	write(t, "../args.json", `{"suite": "noble-updates", "project": "ubuntu"}`)
	for _, tag := range []string{"sourcepackagerecipe", "livefs"} {
		f := newFakeBuilder(t, ends("OK", nil))
		code, _, stderr := f.run(t, tag, "--args", "../args.json")
		if code != 0 || f.request.Tag != tag || f.request.Args["suite"] != "noble-updates" || f.request.Args["project"] != "ubuntu" {
			t.Errorf("%s: code %d, request %+v\n%s", tag, code, f.request, stderr)
		}
		for _, key := range []string{"git_repository", "git_path", "name"} {
			if v, there := f.request.Args[key]; there {
				t.Errorf("%s: %s is %v", tag, key, v)
			}
		}
		if code, _, stderr := f.run(t, tag, "--name", "x"); code != 1 || !strings.Contains(stderr, "--name is not for") {
			t.Errorf("%s with a name: code %d\n%s", tag, code, stderr)
		}
		if code, _, stderr := f.run(t, tag, "."); code != 1 || !strings.Contains(stderr, "--args") {
			t.Errorf("%s from a folder: code %d\n%s", tag, code, stderr)
		}
	}
}

func TestRunWarnsAboutWhatIsNotBuilt(t *testing.T) {
	worktree(t, map[string]string{"changed": "1"})
	write(t, "changed", "2")
	write(t, "new", "1")
	f := newFakeBuilder(t, ends("OK", nil))
	code, _, stderr := f.run(t, "oci")
	for _, want := range []string{"warning: 2 changed or new files of ", "has no Dockerfile; --build-file"} {
		if code != 0 || !strings.Contains(stderr, want) {
			t.Errorf("exit code %d: %q is not in %q", code, want, stderr)
		}
	}
	f = newFakeBuilder(t, ends("OK", nil))
	_, stdout, _ := f.run(t, "--json", "snap")
	var kinds []string
	for line := range strings.Lines(stdout) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, e.Event)
	}
	if got := fmt.Sprint(kinds); got != "[warning warning source present accepted outcome]" {
		t.Errorf("got events %s", got)
	}
}

func TestRunRefusesWhatIsNoSource(t *testing.T) {
	tests := []struct {
		name string
		args []string
		want string
	}{
		{"a folder without a repository", []string{"oci", "/"}, "want the folder of a git work tree: "},
		{"a part of a work tree", []string{"oci", "sub"}, "it is a part of the work tree "},
		{"a bare repository", []string{"oci", ".git"}, "want the folder of a git work tree: "},
		{"a file", []string{"oci", "sub/x"}, "want the folder of a git work tree, or a URL"},
		{"nothing", []string{"oci", "none"}, "stat none: no such file"},
		{"a repository without commits", []string{"oci", "../empty"}, "there is no commit yet"},
		{"an unknown branch", []string{"oci", "--git-path", "none"}, `there is no branch, tag or commit "none"`},
		{"an option as a branch", []string{"oci", "--git-path=--all"}, `"--all" is no branch, tag or commit`},
		{"an unknown type", []string{"rock", "."}, "the builder cannot build the type rock, only binarypackage, snap, oci"},
		{"a folder without a type", []string{"."}, "as in 'lpbuild run oci .'"},
		{"a folder as a package", []string{"binarypackage", "."}, "want a Debian source package"},
		{"a package as a repository", []string{"snap", "x.dsc"}, "a Debian source package is a binarypackage"},
		{"a URL of a file", []string{"snap", "file:///x"}, "name the folder without file://"},
		{"a flag of another type", []string{"snap", ".", "--build-file", "x"}, "--build-file is not for builds of type snap"},
		{"a repository's flag for a package", []string{"x.dsc", "--git-path", "x"}, "--git-path is not for builds of type binarypackage"},
		{"a channel without a name", []string{"snap", ".", "--channel", "edge"}, `--channel "edge": want NAME=VALUE`},
		{"no file of arguments", []string{"snap", ".", "--args", "none"}, "cannot use the arguments: open none"},
		{"a file of other things", []string{"snap", ".", "--args", "sub/x"}, "want a JSON object"},
		{"no certificate", []string{"snap", ".", "--fetch-service-certificate", "none"}, "cannot use the certificate: open none"},
	}
	worktree(t, map[string]string{"sub/x": "[]"})
	runGit(t, "..", "init", "--quiet", "empty")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakeBuilder(t)
			code, _, stderr := f.run(t, tt.args...)
			if code != 1 || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit code %d: %s\nwant %s", code, stderr, tt.want)
			}
			if got := f.called(); len(got) != 0 {
				t.Errorf("called %q", got)
			}
		})
	}
	if left, err := filepath.Glob(os.Getenv("TMPDIR") + "/lpbuild-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAPackageMayBeNamedWithItsType(t *testing.T) {
	source(t)
	f := newFakeBuilder(t, helloScript()...)
	code, _, stderr := f.lpbuild(t.Context(), "run", "--image", "base.tar.gz", "--series", "noble", binaryPackage, "hello_1.dsc")
	if code != 0 || f.request.Tag != binaryPackage || f.request.Args["suite"] != "noble" {
		t.Errorf("exit code %d, request %+v: %s", code, f.request, stderr)
	}
}

func TestNamesAreGoodForFoldersAndImages(t *testing.T) {
	tests := map[string]string{
		"/x/hello": "hello", "https://host.example/~me/Hello.git": "hello", "/x/Grüße an alle": "gr-e-an-alle", "/x/--a..b__c-": "a-b-c",
		"/": "source", "https://host.example": "source", "/x/a_b.c-d": "a_b.c-d",
	}
	for place, want := range tests {
		if got := nameOf(place); got != want {
			t.Errorf("%s: got %q, want %q", place, got, want)
		}
	}
}

// What a type does not have would be named in the log as unknown.
func TestRunSendsNothingThatTheTypeDoesNotHave(t *testing.T) {
	worktree(t, nil)
	for tag, wanted := range map[string][]string{
		"livefs": nil, "sourcepackagerecipe": {"suite"}, "snap": {"name"}, "oci": {"name"},
	} {
		f := newFakeBuilder(t, ends("OK", nil))
		words := []string{tag}
		if (target{tag: tag}).hasRepository() {
			words = append(words, "https://host.example/some.git")
		}
		if code, _, stderr := f.run(t, append(words, "--series", "noble")...); code != 0 {
			t.Fatalf("%s: exit code %d: %s", tag, code, stderr)
		}
		for _, key := range []string{"suite", "name"} {
			if _, sent := f.request.Args[key]; sent != slices.Contains(wanted, key) {
				t.Errorf("%s: %s is sent: %v", tag, key, sent)
			}
		}
	}
	for _, tag := range []string{"ci", "translation-templates"} {
		if (target{tag: tag}).hasName() {
			t.Errorf("what %s makes has a name", tag)
		}
	}
}
