package types_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func recipeArgs() builders.Args {
	return builders.Args{
		"recipe_text": "# git-build-recipe format 0.4 deb-version {debupstream}-0~{revtime}\nhttps://git.test/repo main\n",
		"suite":       "noble", "ogrecomponent": "main", "archive_purpose": "PPA",
		"author_name": "Größer Niemand", "author_email": "someone@author.test", "git": true,
	}
}

const recipeControl = `Source: foo
# a comment
Build-Depends: debhelper (>= 9~),
# another one
 bar [amd64],
	baz
Build-Depends-Arch: arch
Build-Conflicts: enemy
Homepage: https://foo.test
build-conflicts-indep: indep

Package: foo
Build-Depends: not-this
`

// newRecipeLab is a lab in which everything works.
func newRecipeLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	tree := l.tmp + "/work/tree"
	l.target.Script("apt-cache show", fake.Answer{Stdout: "Package: git-build-recipe\n\nPackage: pristine-tar\n\nPackage: bzr-builder\n"})
	l.target.Script("lsb_release", fake.Answer{Stdout: "24.04\n"})
	l.target.Script("git --version", fake.Answer{Stdout: "git version 2.43.0\n"})
	l.target.Script("bzr version", fake.Answer{Stdout: "Bazaar (bzr) 2.8\n"})
	l.target.Script("dpkg-query", fake.Answer{Stdout: "git-build-recipe\t0.3.7\n"})
	l.target.Script("find "+tree+" -mindepth 1 -maxdepth 1 -type d", fake.Answer{Stdout: "foo-1.0\x00"})
	l.target.AddFile(tree+"/foo-1.0/debian/changelog", "foo (1.0-1) noble; urgency=low\n\n  * It.\n", 0o644)
	l.target.AddFile(tree+"/foo-1.0/debian/control", recipeControl, 0o644)
	return l
}

func TestRecipe(t *testing.T) {
	fails := func(prefix, output string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stdout: output, Code: 100}) }
	}
	remove := func(name string) func(l *lab) {
		return func(l *lab) { l.target.RemoveFile(l.tmp + "/work/tree/foo-1.0/" + name) }
	}
	folders := func(names string) func(l *lab) {
		return func(l *lab) { l.target.Script("find", fake.Answer{Stdout: names}) }
	}
	const unmet = "The following packages have unmet dependencies:\n pbuilder-satisfydepends-dummy : Depends: base-files (>= 1000) but it is not going to be installed.\n"
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"git", nil, nil},
		{"bzr", builders.Args{"git": false}, nil},
		{"brz", builders.Args{"git": nil}, func(l *lab) { l.target.AddFile("/usr/bin/brz-build-daily-recipe", "", 0o755) }},
		{"sample", sampleArgs(t, "sourcepackagerecipe"), nil},

		{"fail-user", nil, fails("chown", "")},
		{"fail-no-tool", nil, func(l *lab) { l.target.Script("apt-cache show", fake.Answer{Code: 100}) }},
		{"fail-install", nil, fails("apt-get install", "")},
		{"fail-tree", nil, func(l *lab) {
			l.target.Script("su -s /bin/sh -c 'git-build-recipe", fake.Answer{Stderr: "no such branch\n", Code: 3})
		}},
		{"fail-two-folders", nil, folders("a\x00b c\x00")},
		{"fail-no-folder", nil, folders("")},
		{"fail-no-control", nil, remove("debian/control")},
		{"fail-no-changelog", nil, remove("debian/changelog")},
		{"fail-no-name", nil, func(l *lab) {
			l.target.AddFile(l.tmp+"/work/tree/foo-1.0/debian/changelog", "--option (1.0) x\n", 0o644)
		}},
		{"fail-archive", nil, fails("apt-get -o", "E: something\n")},
		{"fail-dependencies", nil, fails("apt-get build-dep", "E: broken\n")},
		{"fail-dependency-missing", nil, fails("apt-get build-dep", unmet)},
		{"fail-source", nil, func(l *lab) { l.target.Script("su -s /bin/sh -c '/usr/bin/dpkg-buildpackage", fake.Answer{Code: 2}) }},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("apt-get", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the disk is broken"), Advice: "Replace it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			// One of the files has the date in it.
			synctest.Test(t, func(t *testing.T) {
				l := newRecipeLab(t)
				if c.prepare != nil {
					c.prepare(l)
				}
				b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), c.args)
				if err != nil {
					t.Fatal(err)
				}
				l.golden("sourcepackagerecipe/"+c.golden, b.Build(t.Context(), l.env))
			})
		})
	}
}

// TestRecipeWaitsForWhatIsMissing holds that packages decide, as for binary
// packages.
func TestRecipeWaitsForWhatIsMissing(t *testing.T) {
	const unmet = "The following packages have unmet dependencies:\n builddeps:foo : Depends: bar but it is not installable\n"
	for name, c := range map[string]struct {
		packages, says, want string
		outcome              verdict.Outcome
	}{
		"some are missing":       {"debhelper=8 arch=1", unmet, "debhelper (>= 9~), bar, baz", verdict.DepFail},
		"all are there":          {"debhelper=9 bar=1 baz=1 arch=1", unmet, "", verdict.PackageFail},
		"something further down": {"debhelper=9 bar=1 baz=1 arch=1", strings.ReplaceAll(unmet, "bar", "deep (>= 2)"), "deep (>= 2)", verdict.DepFail},
		"another explanation":    {"debhelper=9 bar=1 arch=1", "E: in new words\n", "baz", verdict.DepFail},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newRecipeLab(t)
				index := strings.NewReplacer("=", "\nVersion: ", " ", "\n\nPackage: ").Replace("Package: " + c.packages)
				l.target.AddFile("/var/lib/apt/lists/archive_Packages", index+"\n", 0o644)
				l.target.Script("apt-get build-dep", fake.Answer{Stdout: c.says, Code: 100})
				b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), nil)
				if err != nil {
					t.Fatal(err)
				}
				err = b.Build(t.Context(), l.env)
				var judged *verdict.BuildError
				if !errors.As(err, &judged) || judged.Outcome != c.outcome || judged.Dependencies != c.want {
					t.Errorf("got %s", result(err))
				}
			})
		})
	}
}

func TestRecipeFindsTheFirstUnmetDependency(t *testing.T) {
	const header = "The following packages have unmet dependencies:\n"
	for name, c := range map[string]struct{ log, want string }{
		"with a version":              {header + " dummy : Depends: base-files (>= 1000) but it is not going to be installed.\n", "base-files (>= 1000)"},
		"without a version":           {header + " dummy : Depends: base-files but it is not installable\n", "base-files"},
		"the first of several":        {header + " a : Depends: b\n c : Depends: d\n", "b"},
		"not right after the header":  {header + "\n a : Depends: b\n", ""},
		"no header":                   {" a : Depends: b\n", ""},
		"another relation":            {header + " a : Conflicts: b\n", ""},
		"a second try":                {header + " a : Conflicts: b\n" + header + " a : Depends: c (= 1) |\n", "c (= 1)"},
		"after a very long line":      {strings.Repeat("x", 1<<20) + "\n" + header + " a : Depends: b\n", "b"},
		"the last one of its line":    {header + " a : Depends: b : Depends: c (>= 1)\n", "c (>= 1)"},
		"at the end without newlines": {header + " a : Depends: b", "b"},
		"with a qualifier":            {header + " a : Depends: python3:any (>= 3.2~) but it is not installable\n", "python3 (>= 3.2~)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newRecipeLab(t)
				l.target.Script("apt-get build-dep", fake.Answer{Stdout: c.log, Code: 100})
				b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), nil)
				if err == nil {
					err = b.Build(t.Context(), l.env)
				}
				want := verdict.DepFail
				if c.want == "" {
					want = verdict.PackageFail
				}
				var judged *verdict.BuildError
				if !errors.As(err, &judged) || judged.Outcome != want || judged.Dependencies != c.want {
					t.Errorf("got %v, want %s %q", err, want, c.want)
				}
			})
		})
	}
}

// What stands behind a lot of text is no less a build dependency.
func TestRecipeReadsAControlFileToItsEnd(t *testing.T) {
	comments := strings.Repeat("# "+strings.Repeat("c", 1<<20)+"\n", 17)
	l := newRecipeLab(t)
	b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	control := l.tmp + "/work/tree/foo-1.0/debian/control"
	l.target.AddFile(control, "Source: foo\n"+comments+"Build-Depends: last-of-all\n", 0o644)
	if err := b.Build(t.Context(), l.env); err != nil {
		t.Fatal(err)
	}
	if dsc, _ := l.target.File(l.tmp + "/work/apt/foo.dsc"); !strings.Contains(dsc.Data, "\nBuild-Depends: last-of-all\n") {
		t.Errorf("apt is offered %q", dsc.Data)
	}
	l.target.AddFile(control, strings.Repeat("#", 64<<20)+"\n"+recipeControl, 0o644)
	wantError(t, b.Build(t.Context(), l.env), "debian/control: it is larger than 67108864 bytes")
}

func TestRecipeResults(t *testing.T) {
	l := newRecipeLab(t)
	b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.results(t.Context(), b)
	wantError(t, err, "_source.changes")
	tree := l.tmp + "/work/tree/"
	l.target.AddFile(tree+"foo_1.0-1_source.changes", "Files:\n 0 1 x optional foo_1.0-1.dsc\n 0 1 x optional foo_1.0.tar.gz\n", 0o644)
	l.target.AddFile(tree+"foo_1.0-1.dsc", "dsc", 0o644)
	l.target.AddFile(tree+"foo_1.0.tar.gz", "tarball", 0o644)
	_, err = l.results(t.Context(), b)
	wantError(t, err, "cannot gather manifest")
	l.target.AddFile(tree+"manifest", "manifest", 0o644)
	found, err := l.results(t.Context(), b)
	if err != nil || len(found) != 4 || found["foo_1.0-1.dsc"] != "dsc" || found["manifest"] != "manifest" {
		t.Errorf("got %v, %v", found, err)
	}
	l.target.AddFile(tree+"foo_1.0-1_source.changes", "Files:\n 0 1 x optional ../../../etc/shadow\n", 0o644)
	_, err = l.results(t.Context(), b)
	wantError(t, err, "expected a single path component")
}

func TestRecipeArguments(t *testing.T) {
	for _, key := range []string{"recipe_text", "suite", "ogrecomponent", "archive_purpose", "author_name", "author_email"} {
		_, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), builders.Args{key: nil})
		wantError(t, err, key+" is required")
		_, err = newBuilder(t, "sourcepackagerecipe", recipeArgs(), builders.Args{key: int64(1)})
		wantError(t, err, key+": expected a string, got int")
	}
	_, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), builders.Args{"git": "yes"})
	wantError(t, err, "git: expected a boolean")
	_, err = newBuilder(t, "sourcepackagerecipe", recipeArgs(), builders.Args{"author_name": "a\nb"})
	wantError(t, err, "author_name: expected a single line")
}

func TestRecipeEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	for _, command := range []string{"apt-get install", "su -s", "apt-get build-dep"} {
		synctest.Test(t, func(t *testing.T) {
			l := newRecipeLab(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			l.target.Script(command, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
				cancel(aborted)
				return nil
			}})
			b, err := newBuilder(t, "sourcepackagerecipe", recipeArgs(), nil)
			if err == nil {
				err = b.Build(ctx, l.env)
			}
			if !errors.Is(err, aborted) {
				t.Errorf("%s: got %v", command, err)
			}
		})
	}
}
