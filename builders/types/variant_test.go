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
	"lpbuildd/builders/types"
)

const variantTable = "/usr/share/dpkg/varianttable"

// withVariants makes the lab's image one whose dpkg knows amd64v3.
func withVariants(l *lab) {
	l.env.Common.Variant = "amd64v3"
	l.target.AddFile(variantTable, "# variant architecture flags\namd64v3 amd64 avx,avx2\n", 0o644)
	l.target.Script("dpkg-buildpackage --help", fake.Answer{Stdout: "  --host-arch-variant <variant>\n"})
	l.target.Script("host: cat /proc/cpuinfo", fake.Answer{Stdout: "flags\t\t: fpu avx avx2\n"})
}

func TestBinaryPackageForAVariant(t *testing.T) {
	fault := &verdict.HostFault{Err: errors.New("the disk is broken"), Advice: "Replace it."}
	for _, c := range []struct {
		golden  string
		args    builders.Args
		prepare func(l *lab)
	}{
		{"variant", nil, func(*lab) {}},
		{"variant-arch-indep", builders.Args{"arch_indep": true}, func(*lab) {}},
		{"variant-riscv64", nil, func(l *lab) {
			l.env.Common.ABI, l.env.Common.Variant = "riscv64", "riscv64rva23"
			l.target.AddFile(variantTable, "riscv64rva23\triscv64\r\n", 0o644)
		}},
		{"variant-lacks-instructions", nil, func(l *lab) {
			l.target.Script("host: cat /proc/cpuinfo", fake.Answer{Stdout: "flags\t\t: fpu avx\n"})
		}},
		{"variant-unknown-processor", nil, func(l *lab) {
			l.target.Script("host: cat /proc/cpuinfo", fake.Answer{Stderr: "cat: /proc/cpuinfo: No such file or directory\n", Code: 1})
		}},
		{"fail-variant-old-dpkg", nil, func(l *lab) {
			l.target.RemoveFile(variantTable)
			l.target.Script("dpkg-buildpackage --help", fake.Answer{Stdout: "Usage: dpkg-buildpackage\n"})
		}},
		{"fail-variant-no-option", nil, func(l *lab) {
			l.target.Script("dpkg-buildpackage --help", fake.Answer{Stdout: "Usage: dpkg-buildpackage\n"})
		}},
		{"fail-variant-no-dpkg-dev", nil, func(l *lab) {
			l.target.Script("dpkg-buildpackage --help", fake.Answer{Stderr: "linux64: failed to execute dpkg-buildpackage: No such file or directory\n", Code: 127})
		}},
		{"fail-variant-not-in-table", nil, func(l *lab) { l.env.Common.Variant = "amd64v4" }},
		{"fail-variant-of-another-abi", nil, func(l *lab) { l.env.Common.ABI = "i386" }},
		{"fail-variant-with-another-name", nil, func(l *lab) {
			l.env.Common.Variant = "haswell"
			l.target.AddFile(variantTable, "haswell amd64\n", 0o644)
		}},
		{"fail-variant-table-too-large", nil, func(l *lab) { l.target.AddFile(variantTable, strings.Repeat("#", 16<<20+1), 0o644) }},
		{"fail-variant-host", nil, func(l *lab) { l.target.Script("dpkg-buildpackage", fake.Answer{Err: fault}) }},
		{"fail-variant-not-run", nil, func(l *lab) {
			l.target.Script("dpkg-buildpackage", fake.Answer{Err: errors.New("cannot run anything in the target")})
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			l := newLab(t)
			withVariants(l)
			c.prepare(l)
			err := buildPackage(t, l, c.args)
			l.golden("binarypackage/"+c.golden, err)
			if strings.HasPrefix(c.golden, "fail") != (err != nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnAbortWhileTheImageIsAskedIsOne(t *testing.T) {
	aborted := errors.New("aborted")
	ctx, cancel := context.WithCancelCause(t.Context())
	l := newLab(t)
	withVariants(l)
	l.target.Script("host: cat", fake.Answer{Hang: true, Do: func(context.Context, *fake.Target, backends.Command) error {
		cancel(aborted)
		return nil
	}})
	typ, err := types.Find("binarypackage")
	if err != nil {
		t.Fatal(err)
	}
	c := contracts()["binarypackage"]
	b, err := typ.New(c.args, c.files)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Build(ctx, l.env); !errors.Is(err, aborted) || strings.Contains(l.target.Transcript(), "sbuild") {
		t.Errorf("got %v and\n%s", err, l.target.Transcript())
	}
}

// The build dependencies that count are those of the ABI.
func TestDependenciesOfABuildForAVariant(t *testing.T) {
	for depends, want := range map[string]string{
		"absent [amd64]": "absent", "absent [!amd64]": "", "absent [any-amd64]": "absent", "absent [amd64v3]": "",
		"absent [!amd64v3]": "absent", "one [!amd64], two [linux-any]": "two",
	} {
		t.Run(depends, func(t *testing.T) {
			l := newLab(t)
			withVariants(l)
			l.target.AddFile("/var/lib/apt/lists/archive_Packages", "Package: there\nVersion: 1\n", 0o644)
			l.dsc("Source: hello\nBuild-Depends: " + depends + "\n")
			sbuildSays(l, fake.Answer{Stdout: unmet("Depends: x but it is not going to be installed") + sbuildSummary, Code: 3})
			err := buildPackage(t, l, nil)
			var judged *verdict.BuildError
			outcome := verdict.DepFail
			if want == "" {
				outcome = verdict.PackageFail
			}
			if !errors.As(err, &judged) || judged.Outcome != outcome || judged.Dependencies != want {
				t.Errorf("got %s", result(err))
			}
		})
	}
}
