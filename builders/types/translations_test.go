package types_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

func TestTranslations(t *testing.T) {
	const tree = "/source-tree/"
	fails := func(prefix string) func(l *lab) {
		return func(l *lab) { l.target.Script(prefix, fake.Answer{Stderr: "it does not work\n", Code: 1}) }
	}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, nil},
		{"branch", builders.Args{"branch_url": nil, "branch": "lp:project"}, nil},
		{"git", builders.Args{"branch_url": nil, "git_repository": "https://git.test/repo", "git_path": "next"}, nil},
		{"sample", sampleArgs(t, "translation-templates"), nil},
		{"nothing-to-translate", nil, func(l *lab) {
			for _, name := range []string{"po", "sub/po", "broken"} {
				l.target.RemoveFile(l.tmp + tree + name + "/POTFILES.in")
			}
		}},
		{"domains", nil, func(l *lab) {
			l.target.AddFile(l.tmp+tree+"configure.ac", "AC_INIT([Package name], 1.0, http://bug.org, [package-tarname])\nGETTEXT_PACKAGE=AC_PACKAGE_NAME\n", 0o644)
			l.target.AddFile(l.tmp+tree+"sub/po/Makevars", "DOMAIN = sub-domain\n", 0o644)
		}},
		{"domain-with-folder", nil, func(l *lab) {
			l.target.AddFile(l.tmp+tree+"po/Makevars", "DOMAIN = ../../etc/x\n", 0o644)
		}},
		{"fails-in-one-folder", nil, func(l *lab) {
			l.target.Script("/usr/bin/intltool-update -m", fake.Answer{Stderr: "broken\n", Code: 1}, fake.Answer{})
		}},
		{"missing-file-in-one-folder", nil, func(l *lab) {
			l.target.Script("/usr/bin/intltool-update -m", fake.Answer{Do: func(_ context.Context, f *fake.Target, cmd backends.Command) error {
				if strings.HasSuffix(cmd.Dir, "/sub/po") {
					f.AddFile(cmd.Dir+"/notexist", "a.c\n", 0o644)
				}
				return nil
			}})
		}},
		{"fail-install", nil, fails("apt-get")},
		{"fail-checkout", nil, fails("bzr branch")},
		{"fail-tar", nil, fails("tar")},
		{"fail-template", nil, fails("/usr/bin/intltool-update -p")},
		{"fail-host", nil, func(l *lab) {
			l.target.Script("apt-get", fake.Answer{Err: &verdict.HostFault{Err: errors.New("the disk is broken"), Advice: "Replace it."}})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newLab(t)
			for _, name := range []string{"po", "sub/po"} {
				l.target.AddFile(l.tmp+tree+name+"/POTFILES.in", "a.c\n", 0o644)
			}
			if c.prepare != nil {
				c.prepare(l)
			}
			b, err := newBuilder(t, "translation-templates", builders.Args{"branch_url": "http://bzr.test/~owner/project/trunk"}, c.args)
			if err != nil {
				t.Fatal(err)
			}
			l.golden("translation-templates/"+c.golden, b.Build(t.Context(), l.env))
		})
	}
}

func TestTranslationsResults(t *testing.T) {
	l := newLab(t)
	b, err := newBuilder(t, "translation-templates", builders.Args{"branch_url": "lp:project"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := l.results(t.Context(), b); err != nil || len(found) != 0 {
		t.Errorf("without a tarball: %v, %v", found, err)
	}
	l.target.AddFile(l.tmp+"/translation-templates.tar.gz", "tarball", 0o644)
	if found, err := l.results(t.Context(), b); err != nil || found["translation-templates.tar.gz"] != "tarball" {
		t.Errorf("with a tarball: %v, %v", found, err)
	}
}

func TestTranslationsArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args builders.Args
		err  string
	}{
		"no source":             {nil, "branch_url is required, or branch, or git_repository"},
		"two sources":           {builders.Args{"branch_url": "lp:x", "git_repository": "https://h/r"}, "branch, git_repository: exactly one"},
		"a branch of a number":  {builders.Args{"branch_url": int64(1)}, "branch_url: expected a string, got int"},
		"a branch as an option": {builders.Args{"branch_url": "-v"}, `branch_url: expected no "-" at its start`},
		"a path without git":    {builders.Args{"branch_url": "lp:x", "git_path": "main"}, "git_path: expected nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newBuilder(t, "translation-templates", builders.Args{}, c.args)
			wantError(t, err, c.err)
		})
	}
}
