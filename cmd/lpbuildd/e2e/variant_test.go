//go:build integration

package e2e

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lpbuildd/buildd"
	"lpbuildd/ordered"
)

// TestVariants builds with the real sbuild for amd64v3, which Debian's dpkg does
// not know, and with a fixture that does.
func TestVariants(t *testing.T) {
	if arch := hostArch(t); arch != "amd64" {
		t.Skipf("needs a machine of amd64, and this is one of %s", arch)
	}
	needPrograms(t, "dpkg-scanpackages", "apt-ftparchive")
	v := &variants{builder: newBuilder(t, options{user: "buildd"})}
	v.plain = v.realPackage(v.baseImage(), `echo "built for $DEB_HOST_ARCH, variant $DEB_HOST_ARCH_VARIANT."`)
	for _, part := range []struct {
		name string
		run  func(*variants)
	}{
		{"a dpkg without variants", (*variants).oldDpkg},
		{"a dpkg with variants", (*variants).newDpkg},
		{"a dpkg that ignores variants", (*variants).ignoringDpkg},
		{"build dependencies for the ABI", (*variants).waits},
	} {
		t.Run(part.name, func(t *testing.T) {
			in := *v
			in.builder = v.within(t)
			part.run(&in)
		})
		if t.Failed() {
			return // the builder may not be at rest
		}
	}
}

type variants struct {
	*builder
	plain work
}

// variant is work for a variant, with the fixture of this kind as its dpkg.
func (v *variants) variant(w work, abi, isa string, fixture ...string) work {
	v.t.Helper()
	args := map[string]any{"arch_tag": isa, "abi_tag": abi, "isa_tag": isa}
	if len(fixture) > 0 {
		args["archives"] = append(slices.Clone(w.args["archives"].([]any)), "deb [trusted=yes] "+v.dpkg(fixture[0])+" ./")
	}
	return w.with(args)
}

// dpkg serves the fixture, "honest" or "ignoring", and returns its URL.
func (v *variants) dpkg(mode string) string {
	v.t.Helper()
	dir := v.t.TempDir()
	v.command(".", fixture("fixture-dpkg-variants"), dir, mode)
	files, err := os.ReadDir(dir)
	must(v.t, err)
	for _, f := range files {
		v.origin.add("/"+mode+"/"+f.Name(), served{path: filepath.Join(dir, f.Name())})
	}
	return v.origin.url + "/" + mode + "/"
}

// oldDpkg also holds that no machine is asked for the word size of a variant: no
// table has that of riscv64rva23.
func (v *variants) oldDpkg() {
	for _, tags := range [][2]string{{"amd64", "amd64v3"}, {"riscv64", "riscv64rva23"}, {"amd64", "riscv64rva23"}} {
		st, log := v.run("old", v.variant(v.plain, tags[0], tags[1]), "CHROOTFAIL")
		summary := log[strings.Index(log, "\nBuild summary\n"):]
		checkLog(v.t, summary, "  Stage:      build\n", tags[1]+", a variant of "+tags[0], "/usr/share/dpkg/varianttable", "a newer dpkg")
		checkLog(v.t, log, "Building for "+tags[1]+", a variant of "+tags[0]+".\n", "--abi-tag="+tags[0]+" --isa-tag="+tags[1]+" old")
		for _, text := range []string{"sbuild-package", "Debian sbuild", "real begin"} {
			if strings.Contains(log, text) {
				v.t.Errorf("the log has %q:\n%s", text, log)
			}
		}
		if len(st.FileMap) > 0 {
			v.t.Errorf("the results are %v", st.FileMap)
		}
		v.clean()
	}
	w := v.variant(v.plain, "amd64", "amd64")
	st, _ := v.run("plain", w, "OK")
	must(v.t, v.verify(w, st))
	v.clean()
}

func (v *variants) newDpkg() {
	w := v.variant(v.plain, "amd64", "amd64v3", "honest")
	w.results = map[string]string{}
	for name := range v.plain.results {
		w.results[strings.Replace(name, "_amd64.", "_amd64v3.", 1)] = ""
	}
	w.lines = append([]string{
		"Building for amd64v3, a variant of amd64.\n", "\nWARNING: the processor of this machine lacks ", "fixture_flag",
		" --arch=amd64 --dist=bookworm --nolog --debbuildopt=--host-arch-variant=amd64v3 --dpkg-file-suffix=v3 lpbuildd-e2e_1.0.dsc\n",
		"\nbuilt for amd64, variant amd64v3.\n",
	}, v.plain.lines[1:]...)
	st, _ := v.run("new", w, "OK")
	must(v.t, v.verify(w, st))
	v.acceptable(st)
	v.clean()
}

// acceptable checks what the manager's upload processor looks at (spec: 2026.md
// section 4.2).
func (v *variants) acceptable(st buildd.Status) {
	v.t.Helper()
	dir := v.t.TempDir()
	for name, sum := range st.FileMap {
		data, err := v.download(sum)
		must(v.t, errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o600)))
	}
	fields := func(argv ...string) string {
		cmd := exec.CommandContext(v.t.Context(), argv[0], argv[1:]...)
		cmd.Dir = dir
		out, err := cmd.Output()
		must(v.t, err)
		return string(out)
	}
	const want = "Architecture: amd64\nArchitecture-Variant: amd64v3\n"
	for _, got := range []string{
		fields("dpkg-deb", "-f", "lpbuildd-e2e_1.0_amd64v3.deb", "Architecture", "Architecture-Variant"),
		fields("grep", "^Architecture", "lpbuildd-e2e_1.0_amd64v3.changes"),
		fields("grep", "^Architecture", "lpbuildd-e2e_1.0_amd64v3.buildinfo"),
	} {
		if got != want {
			v.t.Errorf("the fields are\n%s", got)
		}
	}
}

func (v *variants) ignoringDpkg() {
	st, log := v.run("ignored", v.variant(v.plain, "amd64", "amd64v3", "ignoring"), "PACKAGEFAIL")
	checkLog(v.t, log, "\nStatus: successful\n", "lpbuildd-e2e_1.0_amd64v3.changes", "  Stage:      gather\n")
	if len(st.FileMap) > 0 {
		v.t.Errorf("the results are %v", st.FileMap)
	}
	v.clean()
}

func (v *variants) waits() {
	for _, part := range []struct{ depends, outcome, wait string }{
		{"absent [amd64]", "DEPFAIL", "absent"},
		{"absent [any-amd64], other [!amd64]", "DEPFAIL", "absent"},
		{"absent [!amd64]", "OK", ""},
	} {
		w := v.variant(v.plain, "amd64", "amd64v3", "honest")
		w.files = v.sourcePackage(":", "Build-Depends: "+part.depends)
		st, log := v.run("waits", w, part.outcome)
		if st.Dependencies != part.wait {
			v.t.Errorf("%s: waiting for %q; the log is\n%s", part.depends, st.Dependencies, log)
		}
		v.clean()
	}
}

// TestWhatManagersSendStartsBuilds sends what a manager has sent for each type,
// plain and for a variant, and arguments that nobody knows yet.
func TestWhatManagersSendStartsBuilds(t *testing.T) {
	b := newBuilder(t, options{})
	b.useStandIn()
	image := b.cheapImage(1 << 10)
	info, err := b.client.Info(t.Context())
	must(t, err)
	unknown := map[string]any{"of_tomorrow": map[string]any{"s3cret": []any{int64(7), "s3cret"}}, "odd\u202ename": "s3cret"}
	for _, tag := range info.Tags {
		for _, isa := range []string{"amd64", "amd64v3"} {
			t.Run(tag+" for "+isa, func(t *testing.T) {
				b := b.within(t)
				var files ordered.Map[string]
				if tag == "binarypackage" {
					files = ordered.Map[string]{{Name: "cheap_1.dsc", Value: b.put([]byte(cheapDsc))}}
				}
				args := samples(t, tag)
				args["arch_tag"], args["isa_tag"] = isa, isa
				args["fast_cleanup"] = false
				maps.Copy(args, unknown)
				must(t, b.client.Build(t.Context(), buildd.Request{BuildID: "accepted", Tag: tag, Image: image, Files: files, Args: args}))
				b.settled()
				log := b.log()
				checkLog(t, log, "\nIgnoring arguments that this builder does not know: odd?name, of_tomorrow\n")
				for text, want := range map[string]bool{"s3cret": false, "--abi-tag=amd64 --isa-tag=" + isa + " ": true, "Building for amd64v3, a variant of amd64.": isa != "amd64"} {
					if strings.Contains(log, text) != want {
						t.Errorf("%q in the log: %v\n%s", text, !want, log)
					}
				}
				b.clean()
			})
			if t.Failed() {
				return
			}
		}
	}
}
