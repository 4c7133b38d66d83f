package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/cmd/lpbuild/repository"
)

// allowFiles lets git have submodules from folders.
const allowFiles = "protocol.file.allow=always"

// library makes a repository with one file and returns its commit.
func library(t *testing.T, folder string, options ...string) string {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	runGit(t, folder, append([]string{"init", "--quiet", "--initial-branch=main"}, options...)...)
	write(t, filepath.Join(folder, "file"), "content of "+filepath.Base(folder))
	return commitAll(t, folder)
}

func commitAll(t *testing.T, folder string) string {
	t.Helper()
	runGit(t, folder, "add", "--all")
	runGit(t, folder, "-c", "filter.lfs.clean=cat", "commit", "--quiet", "--allow-empty", "--message=x")
	return runGit(t, folder, "rev-parse", "HEAD")
}

func addSubmodule(t *testing.T, folder, url, path string) {
	t.Helper()
	runGit(t, folder, "-c", allowFiles, "submodule", "--quiet", "add", url, path)
	commitAll(t, folder)
}

// clonedAs runs a build from the working folder, and returns the files that a builder
// gets with submodules, and what lpbuild warns of.
func clonedAs(t *testing.T, args ...string) (files, warnings []string) {
	t.Helper()
	f := newFakeBuilder(t, func(f *fakeBuilder) {
		url, _ := f.request.Args["git_repository"].(string)
		into := t.TempDir()
		runGit(t, into, "clone", "--quiet", "--no-checkout", url, "x")
		runGit(t, into+"/x", "checkout", "--quiet", fmt.Sprint(f.request.Args["git_path"]))
		out, err := tryGit(t, into+"/x", "submodule", "update", "--init", "--recursive")
		t.Logf("%v\n%s", err, out)
		err = filepath.WalkDir(into+"/x", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case entry.IsDir() && entry.Name() == ".git":
				return fs.SkipDir
			case !entry.IsDir() && !strings.HasPrefix(entry.Name(), ".git"):
				files = append(files, strings.TrimPrefix(name, into+"/x/"))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		slices.Sort(files)
		ends("OK", nil)(f)
	})
	code, _, stderr := f.run(t, append([]string{"oci", "--build-file", "file"}, args...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for line := range strings.Lines(stderr) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "lpbuild: warning: "); ok {
			warnings = append(warnings, text)
		}
	}
	if left, err := filepath.Glob(os.Getenv("TMPDIR") + "/lpbuild-*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	return files, warnings
}

func wantServed(t *testing.T, files, warnings, wantFiles, wantWarnings []string) {
	t.Helper()
	if !slices.Equal(files, wantFiles) {
		t.Errorf("the build gets %q, want %q", files, wantFiles)
	}
	if !slices.EqualFunc(warnings, wantWarnings, strings.Contains) {
		t.Errorf("warnings %q, want %q", warnings, wantWarnings)
	}
}

func TestRelativeSubmodulesAreServed(t *testing.T) {
	folder := worktree(t, map[string]string{"file": "1"})
	beside := filepath.Dir(folder)
	library(t, beside+"/lib")
	library(t, beside+"/group/deep")
	library(t, beside+"/group/mid")
	addSubmodule(t, beside+"/group/mid", "../../group/deep", "deep")
	addSubmodule(t, folder, "../lib", "lib")
	addSubmodule(t, folder, "../group/mid", "a folder/mid")
	addSubmodule(t, folder, "../lib", "again")
	library(t, folder+"/objects")
	write(t, ".git/info/exclude", "/objects\n")
	addSubmodule(t, folder, "./objects", "inside") // a name of git's own
	runGit(t, folder, "-c", allowFiles, "submodule", "--quiet", "update", "--init", "--recursive")
	commitAll(t, folder+"/again") // which only this clone has, on no branch of lib
	commitAll(t, folder)

	want := []string{"a folder/mid/deep/file", "a folder/mid/file", "again/file", "file", "inside/file", "lib/file"}
	files, warnings := clonedAs(t)
	wantServed(t, files, warnings, want, nil)

	runGit(t, folder, "worktree", "add", "--quiet", "../linked", "-b", "linked")
	t.Chdir("../linked")
	files, warnings = clonedAs(t)
	wantServed(t, files, warnings, want, nil)

	// An older commit has others, which need not be in the work tree.
	t.Chdir(folder)
	runGit(t, folder, "rm", "--quiet", "lib")
	commitAll(t, folder)
	files, warnings = clonedAs(t, "--git-path", "HEAD~1")
	wantServed(t, files, warnings, want, nil)
}

func TestSubmodulesOfOtherKindsOfRepositories(t *testing.T) {
	for name, clone := range map[string][]string{
		"a shallow clone": {"--depth=1", "--recurse-submodules", "--shallow-submodules"},
		"alternates":      {"--shared", "--recurse-submodules"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := worktree(t, map[string]string{"file": "1"})
			library(t, filepath.Dir(folder)+"/lib")
			addSubmodule(t, folder, "../lib", "lib")
			runGit(t, folder, slices.Concat([]string{"-c", allowFiles, "clone", "--quiet"}, clone, []string{"file://" + folder, "../clone"})...)
			t.Chdir("../clone")
			files, warnings := clonedAs(t)
			wantServed(t, files, warnings, []string{"file", "lib/file"}, nil)
		})
	}
	t.Run("the object format sha256", func(t *testing.T) {
		folder := worktree(t, nil)
		beside := filepath.Dir(folder)
		library(t, beside+"/lib", "--object-format=sha256")
		library(t, beside+"/top", "--object-format=sha256")
		addSubmodule(t, beside+"/top", "../lib", "lib")
		t.Chdir(beside + "/top")
		files, warnings := clonedAs(t)
		wantServed(t, files, warnings, []string{"file", "lib/file"}, nil)
	})
}

func TestSubmodulesThatABuildWillMiss(t *testing.T) {
	folder := worktree(t, map[string]string{"file": "1"})
	commit := library(t, filepath.Dir(folder)+"/lib")
	addSubmodule(t, folder, "../lib", "gone")
	for path, settings := range map[string]string{
		"a-local": "url = file://" + folder + "/../lib", "b-path": "url = " + filepath.Dir(folder) + "/lib", "c-ssh": "url = ssh://git@host.example/x",
		"d-scp": "url = git@host.example:x.git", "e-none": "url = ../lib\n\tupdate = none", "f-without": "branch = x", "g-network": "url = http://127.0.0.1:1/x",
		"h-high": "url = " + strings.Repeat("../", 80) + "x", "i-query": "url = ../lib?x", "j-escape": "url = ../lib",
	} {
		runGit(t, folder, "update-index", "--add", "--cacheinfo", "160000,"+commit+","+path)
		name := path
		if path == "j-escape" {
			name = "../../.git" // a name that would lead elsewhere
		}
		modules, err := os.ReadFile(".gitmodules")
		if err != nil {
			t.Fatal(err)
		}
		write(t, ".gitmodules", fmt.Sprintf("%s[submodule %q]\n\tpath = %s\n\t%s\n", modules, name, path, settings))
	}
	runGit(t, folder, "add", ".gitmodules")
	runGit(t, folder, "commit", "--quiet", "--message=x")
	if err := os.RemoveAll(".git/modules"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll("gone"); err != nil {
		t.Fatal(err)
	}
	runGit(t, folder, "checkout", "--quiet", "-f")
	files, warnings := clonedAs(t)
	var about []string
	for _, text := range warnings {
		if !strings.Contains(text, "not committed") {
			about = append(about, text)
		}
	}
	wantServed(t, files, about, []string{"file"}, []string{
		"the submodule a-local is on this machine (file://", "the submodule b-path is on this machine (/", "the submodule c-ssh is behind ssh (ssh://git@host.example/x)",
		"the submodule d-scp is behind ssh (git@host.example:x.git)", "the submodule f-without has no URL", "of the submodule gone (../lib) is not here",
		"the submodule h-high (../../", "the submodule i-query (../lib?x) cannot be served", "of the submodule j-escape (../lib) is not here",
	})
}

func TestFilesInLFSAreCounted(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 5\n"
	folder := worktree(t, map[string]string{
		"file": "1", "a/.gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\nplain.bin -filter\n",
		"a/b/1.bin": pointer, "a/größe\n.bin": pointer, "a/plain.bin": "x", "other.bin": "x",
	})
	_, warnings := clonedAs(t)
	wantServed(t, nil, warnings, nil, []string{"2 files of commit " + repository.Short(runGit(t, folder, "rev-parse", "HEAD")) + " are in Git LFS, which is not served: the build gets their pointers only"})

	library(t, "../lib")
	write(t, "../lib/.gitattributes", "[attr]big filter=lfs\nfile big\n")
	commitAll(t, "../lib")
	write(t, ".lfsconfig", "[lfs]\n\turl = https://user:secret@lfs.example/x\n")
	addSubmodule(t, folder, "../lib", "lib")
	_, warnings = clonedAs(t)
	wantServed(t, nil, warnings, nil, []string{
		" of the submodule lib are in Git LFS, which is not served: the build gets their pointers only",
		"are in Git LFS, which is not served: the build gets their pointers only, unless it fetches them itself from https://user:xxxxx@lfs.example/x",
	})
	_, warnings = clonedAs(t, "--git-path", "v1")
	for _, text := range warnings {
		if strings.Contains(text, "LFS") {
			t.Errorf("a commit without files in LFS: %s", text)
		}
	}
}
