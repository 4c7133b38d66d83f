//go:build integration

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
)

// workshop is a builder in whose chroots Debian's own tools build from git.
type workshop struct {
	*builder
	*fixtures
	image string
}

func (w *workshop) t() *testing.T { return w.builder.t }

// TestChrootTypes builds source packages with git-build-recipe, and translation
// templates with intltool. All parts use one builder and its base image.
func TestChrootTypes(t *testing.T) {
	needRoot(t)
	f := newWeb(t, "recipe", "templates")
	w := &workshop{builder: newBuilder(t, options{user: "buildd"}), fixtures: f}
	w.image = w.baseImage()
	for _, part := range []struct {
		name string
		run  func(*workshop)
	}{
		{"a recipe", (*workshop).recipe},
		{"a recipe whose package needs what there is not", (*workshop).recipeWaits},
		{"a recipe that names what there is not", (*workshop).recipeFails},
		{"an abort of a recipe", (*workshop).recipeAborted},
		{"translation templates", (*workshop).templates},
		{"no translation templates", (*workshop).noTemplates},
		{"translation templates without intltool", (*workshop).noIntltool},
	} {
		t.Run(part.name, func(t *testing.T) {
			in := *w
			in.builder = w.within(t)
			part.run(&in)
			in.clean()
		})
		if t.Failed() {
			return // the builder may not be at rest
		}
	}
}

// start starts a build.
func (w *workshop) start(tag string, args map[string]any) {
	w.t().Helper()
	all := map[string]any{"series": "bookworm", "arch_tag": hostArch(w.t()), "archives": w.lines}
	maps.Copy(all, args)
	must(w.t(), w.client.Build(w.t().Context(), buildd.Request{BuildID: "e2e-" + tag, Tag: tag, Image: w.image, Args: all}))
}

// author is who writes the recipes.
const author = "Zoë O'Née"

// startRecipe starts the build of a branch of the recipe's repository.
func (w *workshop) startRecipe(branch string) {
	w.t().Helper()
	repository := w.url + "/git/recipe.git"
	w.start("sourcepackagerecipe", map[string]any{
		"git": true, "suite": "bookworm", "ogrecomponent": "main", "archive_purpose": "PPA",
		"author_name": author, "author_email": "zoe@example.org",
		"recipe_text": "# git-build-recipe format 0.4 deb-version {debversion}+git{revno}\n" +
			repository + " " + branch + "\nmerge more " + repository + " extra\n",
	})
}

func (w *workshop) recipe() {
	w.startRecipe("main")
	st := w.finish("OK")
	dir := w.t().TempDir()
	var found []string
	for name, sum := range st.FileMap {
		data, err := w.download(sum)
		must(w.t(), errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o644)))
		_, ending, _ := strings.Cut(name, "~ubuntu12.1")
		found = append(found, ending)
	}
	slices.Sort(found)
	if want := []string{"", ".dsc", ".tar.xz", "_source.buildinfo", "_source.changes"}; !slices.Equal(found, want) {
		w.t().Errorf("the results are %v", st.FileMap)
	}
	sources, err := filepath.Glob(filepath.Join(dir, "*.dsc"))
	if err != nil || len(sources) != 1 {
		w.t().Fatalf("the source packages are %q: %v", sources, err)
	}
	w.command(dir, "dpkg-source", "--no-check", "-x", sources[0], "source")
	for name, text := range map[string]string{
		"source/extra": "something more", "source/version": "version 2", "source/debian/changelog": author + " <zoe@example.org>",
		"manifest": w.commit("recipe", "main"),
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(data), text) {
			w.t().Errorf("%s lacks %q: %v\n%s", name, text, err, data)
		}
	}
	checkLog(w.t(), w.log(), "\nBuilding recipe:\n", "\ngit-build-recipe ", "\ncleaned as buildd\n", "Result:     OK\n")
}

// commit is the id of a branch's commit.
func (f *fixtures) commit(repository, branch string) string {
	f.t.Helper()
	dir := filepath.Join(f.dir, "www/git", repository+".git")
	out, err := exec.CommandContext(f.t.Context(), "git", "--git-dir", dir, "rev-parse", branch).Output()
	must(f.t, err)
	return strings.TrimSpace(string(out))
}

func (w *workshop) recipeWaits() {
	w.startRecipe("depwait")
	st := w.finish("DEPFAIL")
	if st.Dependencies != "fixture-missing (>= 2)" || len(st.FileMap) > 0 {
		w.t().Errorf("waiting for %q, with %v", st.Dependencies, st.FileMap)
	}
}

func (w *workshop) recipeFails() {
	w.startRecipe("no-such-branch")
	st := w.finish("PACKAGEFAIL")
	checkLog(w.t(), w.log(), "no-such-branch", "Result:     PACKAGEFAIL\n")
	if len(st.FileMap) > 0 {
		w.t().Errorf("the results are %v", st.FileMap)
	}
}

func (w *workshop) recipeAborted() {
	w.startRecipe("slow")
	w.reaches("\ncleaned as buildd\n")
	w.abort()
}

func (w *workshop) templates() {
	w.start("translation-templates", map[string]any{"git_repository": w.url + "/git/templates.git", "git_path": "main"})
	st := w.finish("OK")
	if len(st.FileMap) != 1 {
		w.t().Fatalf("the results are %v", st.FileMap)
	}
	data, err := w.download(st.FileMap["translation-templates.tar.gz"])
	must(w.t(), err)
	found := unzip(w.t(), data)
	for name, text := range found {
		w.t().Logf("%s:\n%s", name, text)
	}
	want := map[string]string{"po/fixture-domain.pot": `msgid "Hello, world"`, "plugin/po/fixture-plugin.pot": `msgid "A plugin"`}
	for name, text := range want {
		if !strings.Contains(found[name], text) {
			w.t().Errorf("%s lacks %s", name, text)
		}
	}
	if len(found) != len(want) {
		w.t().Errorf("the templates are %q", slices.Sorted(maps.Keys(found)))
	}
	checkLog(w.t(), w.log(), "\nNo template in broken/po: POTFILES.in names files that do not exist\n", "\nGenerated 2 templates.\n")
}

// unzip reads the files of a compressed archive.
func unzip(t *testing.T, data []byte) map[string]string {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(data))
	must(t, err)
	archive, files := tar.NewReader(plain), map[string]string{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		content, err := io.ReadAll(archive)
		must(t, err)
		files[header.Name] = string(content)
	}
}

func (w *workshop) noTemplates() {
	w.start("translation-templates", map[string]any{"git_repository": w.url + "/git/templates.git", "git_path": "nothing"})
	if st := w.finish("OK"); len(st.FileMap) > 0 {
		w.t().Errorf("the results are %v", st.FileMap)
	}
}

func (w *workshop) noIntltool() {
	w.start("translation-templates", map[string]any{
		"git_repository": w.url + "/git/templates.git", "archives": w.archive("")["archives"],
	})
	w.finish("CHROOTFAIL")
	checkLog(w.t(), w.log(), "intltool", "Result:     CHROOTFAIL\n")
}
