package types_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
)

const sbuildSummary = "Fail-Stage: install-deps\nStatus: given-back\n"

// unmet is what sbuild prints when apt cannot install build dependencies.
func unmet(lines ...string) string {
	return "The following packages have unmet dependencies:\n sbuild-build-depends-hello-dummy : " +
		strings.Join(lines, "\n") + "\nE: Unable to correct problems, you have held broken packages.\n"
}

// sbuildSays scripts sbuild, under any personality.
func sbuildSays(l *lab, a fake.Answer) {
	for _, prefix := range []string{"linux32", "linux64", "linux64 --uname-2.6"} {
		l.target.Script("host: "+prefix+" sbuild", a)
	}
}

func buildPackage(t *testing.T, l *lab, args builders.Args) error {
	t.Helper()
	all := builders.Args{"suite": "noble", "ogrecomponent": "main", "archive_purpose": "PRIMARY"}
	maps.Copy(all, args)
	typ, err := types.Find("binarypackage")
	if err != nil {
		t.Fatal(err)
	}
	b, err := typ.New(all, []string{"hello_1.0.dsc", "hello_1.0.tar.xz"})
	if err != nil {
		t.Fatal(err)
	}
	return b.Build(t.Context(), l.env)
}

func TestBinaryPackage(t *testing.T) {
	pointers := "a.c:1: warning: implicit declaration of function `f'\na.c:1: warning: return makes pointer from integer without a cast\n"
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"plain", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: "sbuild (Debian sbuild)\nStatus: successful\n"}) }},
		{"arch-indep", builders.Args{"arch_indep": true}, func(*lab) {}},
		{"debug-symbols", builders.Args{"build_debug_symbols": true}, func(*lab) {}},
		{"debug-symbols-one-processor", builders.Args{"build_debug_symbols": true}, func(l *lab) { l.env.CPUs = 1 }},
		{"no-purpose", builders.Args{"archive_purpose": nil}, func(*lab) {}},
		{"pocket", builders.Args{"suite": "jammy-proposed", "archive_purpose": "PPA", "ogrecomponent": "universe"}, func(*lab) {}},
		{"i386", nil, func(l *lab) { l.env.Common.ABI = "i386" }},
		{"i386-pointers-are-warnings", nil, func(l *lab) {
			l.env.Common.ABI = "i386"
			sbuildSays(l, fake.Answer{Stdout: pointers})
		}},
		{"precise", builders.Args{"suite": "precise-updates"}, func(l *lab) {
			l.target.Script("host: setarch --help", fake.Answer{Stdout: "     --uname-2.6\n"})
			l.target.Script("host: linux64 --uname-2.6 uname", fake.Answer{Stdout: "2.6.61 #1 SMP x86_64\n"})
		}},
		{"precise-old-setarch", builders.Args{"suite": "precise"}, func(*lab) {}},
		{"karmic-pointers-are-warnings", builders.Args{"suite": "karmic"}, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: pointers}) }},
		{"own-sbuildrc", nil, func(l *lab) {
			if err := os.WriteFile(filepath.Join(l.env.Job.Home, ".sbuildrc"), nil, 0o600); err != nil {
				l.t.Fatal(err)
			}
		}},
		{"odd-build-id", nil, func(l *lab) { l.env.Job.BuildID = "a b's.id" }},
		{"image-knows-sbuild", nil, func(l *lab) {
			l.target.AddFile("/etc/passwd", "sbuild:x:1:1::/:/bin/sh\nroot:x:0:0::/root:/bin/sh\n", 0o644)
			l.target.AddFile("/etc/group", "root:x:0:\nsbuild:x:105:buildd\n", 0o644)
		}},

		{"fail-pointers", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: pointers}) }},
		{"fail-failed", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: "E: failed\n", Code: 1}) }},
		{"fail-attempted", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: "Status: attempted\n", Code: 2}) }},
		{"fail-given-back-for-no-reason", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: "E: Everything is broken.\n", Code: 3}) }},
		{"fail-unauthenticated", nil, func(l *lab) {
			sbuildSays(l, fake.Answer{Stdout: "E: There are problems and -y was used without --force-yes\n", Code: 3})
		}},
		{"fail-dependency-missing", nil, func(l *lab) {
			sbuildSays(l, fake.Answer{Stdout: unmet("Depends: enoent but it is not installable") + sbuildSummary, Code: 3})
		}},
		{"fail-dependency-analysed", nil, func(l *lab) {
			l.dsc("Source: hello\nBuild-Depends: good, ebadver (>= 2)\n")
			l.target.AddFile("/usr/lib/apt/apt-helper", "", 0o755)
			l.target.Script("apt-get indextargets", fake.Answer{Stdout: "/l/one\n/l/two\n"})
			l.target.Script("/usr/lib/apt/apt-helper cat-file /l/one", fake.Answer{Stdout: "Package: good\nVersion: 1\n"})
			l.target.Script("/usr/lib/apt/apt-helper cat-file /l/two", fake.Answer{Stdout: "Package: ebadver\nVersion: 1\n"})
			sbuildSays(l, fake.Answer{Stdout: unmet("Depends: ebadver (>= 2) but it is not going to be installed") + sbuildSummary, Code: 3})
		}},
		{"fail-analysis-impossible", nil, func(l *lab) {
			sbuildSays(l, fake.Answer{Stdout: unmet("Depends: ebadver (>= 2) but it is not going to be installed") + sbuildSummary, Code: 3})
		}},
		{"fail-builder-trouble", nil, func(l *lab) { sbuildSays(l, fake.Answer{Code: 4}) }},
		{"fail-killed", nil, func(l *lab) { sbuildSays(l, fake.Answer{Code: 137}) }},
		{"fail-killed-with-pointers", nil, func(l *lab) { sbuildSays(l, fake.Answer{Stdout: pointers, Code: 137}) }},
		{"fail-no-sbuild", nil, func(l *lab) { sbuildSays(l, fake.Answer{Err: errors.New("cannot start linux64")}) }},
		{"fail-corrupt-sbuildrc", nil, func(l *lab) {
			l.target.Script("host: perl", fake.Answer{Stderr: "syntax error at line 1\n", Code: 255})
		}},
		{"fail-schroot", nil, func(l *lab) {
			l.target.Script("root: install", fake.Answer{Stderr: "install: no such folder\n", Code: 1})
		}},
		{"fail-no-host-user", nil, func(l *lab) { l.target.Script("host: getent passwd", fake.Answer{Code: 2}) }},
		{"fail-no-build-folder", nil, func(l *lab) {
			l.target.Script("chown", fake.Answer{Stderr: "chown: cannot access '/build'\n", Code: 1})
		}},
		{"fail-unknown-architecture", nil, func(l *lab) { l.env.Common.ABI = "pdp11" }},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newLab(t)
			c.prepare(l)
			l.golden("binarypackage/"+c.golden, buildPackage(t, l, c.args))
		})
	}
}

// TestGivenBack holds the worked examples of spec: builders.md section 2.9.
func TestGivenBack(t *testing.T) {
	for _, c := range []struct {
		name, dsc, packages string
		lines               []string
		outcome             verdict.Outcome
		depends             string
	}{
		{"missing", "", "", []string{"Depends: enoent but it is not installable"}, verdict.DepFail, "enoent"},
		{
			"too new", "", "",
			[]string{"Depends: ebadver (< 2.0) but 3.0 is to be installed"},
			verdict.DepFail, "ebadver (< 2.0)",
		},
		{
			"too new and there", "", "",
			[]string{"Depends: ebadver (< 2.0) but 3.0 is installed"},
			verdict.DepFail, "ebadver (< 2.0)",
		},
		{
			"qualified", "", "",
			[]string{"Depends: ebadver:any (>= 3.0) but 2.0 is installed"},
			verdict.DepFail, "ebadver (>= 3.0)",
		},
		{
			"uninstallable for other reasons", "Build-Depends: uninstallable (>= 1)\n", "Package: uninstallable\nVersion: 1\n",
			[]string{"Depends: uninstallable (>= 1) but it is not going to be installed"},
			verdict.PackageFail, "",
		},
		{
			"too old", "Build-Depends: ebadver (>= 2)\n", "Package: ebadver\nVersion: 1\n",
			[]string{"Depends: ebadver (>= 2) but it is not going to be installed"},
			verdict.DepFail, "ebadver (>= 2)",
		},
		{
			"the analysis wins", "Build-Depends: ebadver (>= 2), uninstallable\n",
			"Package: ebadver\nVersion: 1\n\nPackage: uninstallable\nVersion: 1\n",
			[]string{"Depends: ebadver (>= 2) but it is not going to be installed", " Depends: uninstallable but it is not installable"},
			verdict.DepFail, "ebadver (>= 2)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			l.dsc("Format: 1.0\n" + c.dsc)
			l.target.AddFile("/var/lib/apt/lists/archive_Packages", c.packages, 0o644)
			l.target.AddFile("/var/lib/apt/lists/archive_Release", "no index", 0o644)
			filler := strings.Repeat("x", 4095) + "\n"
			sbuildSays(l, fake.Answer{Stdout: unmet(c.lines...) + filler + sbuildSummary, Code: 3})
			err := buildPackage(t, l, nil)
			var judged *verdict.BuildError
			if !errors.As(err, &judged) || judged.Outcome != c.outcome || judged.Dependencies != c.depends {
				t.Errorf("got %s", result(err))
			}
		})
	}
}

// TestExitCodes is the table of spec: builders.md section 2.5.
func TestExitCodes(t *testing.T) {
	for code, want := range map[int]verdict.Outcome{
		0: verdict.OK, 1: verdict.PackageFail, 2: verdict.PackageFail, 3: verdict.PackageFail,
		4: verdict.BuilderFail, 5: verdict.BuilderFail, 127: verdict.BuilderFail, 128 + 9: verdict.BuilderFail,
		128 + 15: verdict.BuilderFail,
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			l := newLab(t)
			sbuildSays(l, fake.Answer{Code: code})
			if err := buildPackage(t, l, nil); outcome(err) != want {
				t.Errorf("got %v (%v), want %v", outcome(err), err, want)
			}
		})
	}
}

func TestBuildEndsWithItsContext(t *testing.T) {
	aborted := errors.New("aborted")
	ctx, cancel := context.WithCancelCause(t.Context())
	l := newLab(t)
	sbuildSays(l, fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
		cancel(aborted)
		return nil
	}})
	typ, err := types.Find("binarypackage")
	if err != nil {
		t.Fatal(err)
	}
	b, err := typ.New(builders.Args{"suite": "s", "ogrecomponent": "main"}, []string{"a_1.dsc"})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(ctx, l.env); !errors.Is(err, aborted) || outcome(err) != verdict.BuilderFail {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsMadeBeforeItIsNoted(t *testing.T) {
	l := newLab(t)
	l.env.Undo = func(string) error { return errors.New("ledger: disk full") }
	err := buildPackage(t, l, nil)
	if outcome(err) != verdict.BuilderFail || len(l.target.Commands()) != 0 {
		t.Errorf("%v; commands %q", err, l.target.Commands())
	}
}

// TestShippedSbuildrc reads etc/sbuildrc as sbuild does.
func TestShippedSbuildrc(t *testing.T) {
	if _, err := os.Stat("/usr/bin/perl"); err != nil {
		t.Skip("needs perl:", err)
	}
	path, err := filepath.Abs("../../etc/sbuildrc")
	if err != nil {
		t.Fatal(err)
	}
	script := `do $ARGV[0] or die "$ARGV[0]: $@ $!\n";
		print "$_=${$_}\n" for qw(maintainer_name build_arch_all apt_update apt_distupgrade apt_allow_unauthenticated
			resolve_alternatives purge_build_deps stalled_pkg_timeout run_lintian bd_uninstallable_explainer sbuild_mode check_space);
		print "env $_=$build_environment->{$_}\n" for sort keys %$build_environment;
		print "filter @$environment_filter\n";`
	out, err := backends.Output(t.Context(), backends.Host{}, backends.Command{Argv: []string{"perl", "-e", script, path}})
	if err != nil {
		t.Fatal(err)
	}
	maintainer, rest, _ := strings.Cut(string(out), "\n")
	if !strings.HasPrefix(maintainer, "maintainer_name=Launchpad Build Daemon <buildd@") || !strings.HasSuffix(maintainer, ">") {
		t.Errorf("got %q", maintainer)
	}
	want := `build_arch_all=0
apt_update=0
apt_distupgrade=0
apt_allow_unauthenticated=1
resolve_alternatives=1
purge_build_deps=never
stalled_pkg_timeout=150
run_lintian=0
bd_uninstallable_explainer=
sbuild_mode=buildd
check_space=0
env LANG=C.UTF-8
env TERM=unknown
env V=1
filter ^DEB_BUILD_OPTIONS$
`
	if rest != want {
		t.Errorf("got\n%s", rest)
	}
}
