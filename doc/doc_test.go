// Package doc is for whoever reads: it holds the specification that the comments
// of the code cite. No program has it; its tests read the tree and touch nothing.
package doc

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = ".."

// chapters are all of the folder but its index.
func chapters(t *testing.T) *specification {
	t.Helper()
	s := &specification{sections: map[string]map[string]bool{}, weaknesses: map[string]bool{}}
	names, err := filepath.Glob("*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name != "README.md" {
			s.chapter(name, read(t, name))
		}
	}
	return s
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestCitations looks at every file of the project that can cite the specification.
func TestCitations(t *testing.T) {
	t.Parallel()
	s := chapters(t)
	files, found := 0, 0
	walk(t, func(name, content string) {
		files++
		texts, err := textsOf(name, content)
		if err != nil {
			t.Error(err)
			return
		}
		home := ""
		if dir, base := path.Split(name); dir == "doc/" && s.sections[base] != nil {
			home = base
		}
		for _, x := range texts {
			found += strings.Count(strings.ToLower(x.words.String()), "spec: ")
			for _, p := range s.problemsIn(x, home) {
				t.Errorf("%s:%d: %s", name, p.line, p.what)
			}
		}
	})
	if files < 100 || found < 100 {
		t.Errorf("only %d citations in %d files were found: does the test still look at all?", found, files)
	}
}

// walk calls do for each text file of the project, by its path from the root.
func walk(t *testing.T, do func(name, content string)) {
	t.Helper()
	skip := []string{".git", "vendor", "_build", "bin", "dist", "testdata"}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skip, path.Base(name)):
			return fs.SkipDir
		case d.Type().IsRegular() && isText(name):
			do(name, read(t, filepath.Join(root, name)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// isText tells sources, documents, scripts and configuration from everything else.
func isText(name string) bool {
	top, _, nested := strings.Cut(name, "/")
	return path.Ext(name) == ".go" || path.Ext(name) == ".md" ||
		nested && slices.Contains([]string{".ci", "debian", "etc"}, top) ||
		!nested && slices.Contains([]string{"Makefile", ".golangci.yml"}, name)
}

var link = regexp.MustCompile(`\]\(([^)#:]+)\)`)

// TestLinks follows the links between documents.
func TestLinks(t *testing.T) {
	t.Parallel()
	walk(t, func(name, content string) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, m := range link.FindAllStringSubmatch(content, -1) {
			if _, err := os.Stat(filepath.Join(root, path.Dir(name), m[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %s", name, m[1])
			}
		}
	})
}

// named is a path of the tree, or a file of Go, that a document names.
var named = regexp.MustCompile("`((?:\\.ci|backends|buildd|builders|cmd|debian|etc|filecache|rpc)/[\\w./-]+|\\w+\\.go)`")

// TestPaths checks that what documents name is there, so that who moves a file finds
// where it is spoken of.
func TestPaths(t *testing.T) {
	t.Parallel()
	sources := map[string]bool{}
	walk(t, func(name, _ string) { sources[path.Base(name)] = true })
	walk(t, func(name, content string) {
		if path.Ext(name) != ".md" {
			return
		}
		for _, m := range named.FindAllStringSubmatch(content, -1) {
			if _, err := os.Stat(filepath.Join(root, m[1])); err != nil && !sources[m[1]] {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
	})
}

// TestIndex checks that the index has all chapters.
func TestIndex(t *testing.T) {
	t.Parallel()
	index := read(t, "README.md")
	for name := range chapters(t).sections {
		if !strings.Contains(index, "("+name+")") {
			t.Errorf("README.md does not list %s", name)
		}
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	s := &specification{sections: map[string]map[string]bool{}, weaknesses: map[string]bool{}}
	s.chapter("protocol.md", "# Protocol\n## 1. One\n### 1.1 One of it\n## 2. Two\n## 3. Three\n")
	s.chapter("weaknesses.md", "| A1 | x | y |\n| F1–F3, G2 | x | y |\n")
	for name, c := range map[string]struct {
		file, content string
		want          []problem
	}{
		"a section that exists":       {"a.go", "package a\n// See spec: protocol.md section 1.1, and so on.\n", nil},
		"several":                     {"a.go", "package a\n// spec: protocol.md sections 1, 1.1 and 2\n", nil},
		"a range":                     {"a.go", "package a\n// spec: protocol.md sections 1 to 3\n", nil},
		"a chapter alone":             {"a.go", "package a\n// spec: protocol.md, introduction\n", nil},
		"a section that is missing":   {"a.go", "package a\n\n// spec: protocol.md section 4\n", []problem{{3, "protocol.md has no section 4"}}},
		"the last of several":         {"a.go", "package a\n// spec: protocol.md sections 1, 2 and 9\n", []problem{{2, "protocol.md has no section 9"}}},
		"inside of a range":           {"a.go", "package a\n// spec: protocol.md sections 2 to 4\n", []problem{{2, "protocol.md has no section 4"}}},
		"a part that is missing":      {"a.go", "package a\n// (spec: protocol.md section 1.2).\n", []problem{{2, "protocol.md has no section 1.2"}}},
		"broken after spec:":          {"a.go", "package a\n// As spec:\n// protocol.md section 7 says.\n", []problem{{2, "protocol.md has no section 7"}}},
		"broken before the number":    {"a.go", "package a\n// (spec: protocol.md section\n// 8)\n", []problem{{2, "protocol.md has no section 8"}}},
		"a chapter that is missing":   {"a.go", "package a\n// spec: wire.md section 1\n", []problem{{2, "there is no chapter wire.md"}}},
		"no chapter":                  {"a.go", "package a\n// spec: section 1\n", []problem{{2, "spec: is not followed by a chapter"}, {2, "section 1 of which chapter?"}}},
		"nothing":                     {"a.go", "package a\n// Spec: as ever.\n", []problem{{2, "spec: is not followed by a chapter"}}},
		"without spec:":               {"a.go", "package a\n// pinned: protocol.md section 6\n", []problem{{2, "protocol.md has no section 6"}}},
		"a section of nothing":        {"a.go", "package a\n// a verdict (section 1)\n", []problem{{2, "section 1 of which chapter?"}}},
		"a section of the last one":   {"a.go", "package a\n// spec: protocol.md section 1; that of section 9\n", []problem{{2, "protocol.md has no section 9"}}},
		"a standard's":                {"a.go", "package a\n// as RFC 2045 section 6.8 says\n", nil},
		"a string is no comment":      {"a.go", "package a\nconst x = `// spec: protocol.md section 4`\n", nil},
		"weaknesses":                  {"a.go", "package a\n// weakness F2, weaknesses.md G2 and (weakness\n// A1)\n", nil},
		"a weakness that is missing":  {"a.go", "package a\n// of (weakness\n// A9)\n", []problem{{3, "there is no weakness A9"}}},
		"the word":                    {"a.go", "package a\n// the weakness it warns of\n", nil},
		"a script":                    {".ci/run", "#!/bin/sh\ntrue # spec: protocol.md\n# section 5\n", []problem{{2, "protocol.md has no section 5"}}},
		"a paragraph":                 {"X.md", "one\nspec: protocol.md section\n5\n\nsection", []problem{{2, "protocol.md has no section 5"}}},
		"two paragraphs":              {"X.md", "spec: protocol.md section\n\n5\n", nil},
		"quoted":                      {"X.md", "\"spec:\" in a comment names a chapter\n", nil},
		"other documents":             {"X.md", "ARCHITECTURE.md section 3\n", nil},
		"in the specification itself": {"protocol.md", "as section 9 says (A1, F1–F4)\n", []problem{{1, "protocol.md has no section 9"}, {1, "there is no weakness F4"}}},
		"a chapter of two chapters":   {"protocol.md", "weaknesses.md; section 3 and section 9\n", []problem{{1, "protocol.md has no section 9"}}},
		"what only looks like a list": {"a.go", "package a\n// protocol.md section 3, 2026 and later; section 2, 600 of them\n", nil},
	} {
		texts, err := textsOf(c.file, c.content)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		home := ""
		if s.sections[c.file] != nil {
			home = c.file
		}
		var got []problem
		for _, x := range texts {
			got = append(got, s.problemsIn(x, home)...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
