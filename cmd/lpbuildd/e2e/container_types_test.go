//go:build integration

package e2e

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
)

// part is a part of TestContainers.
type part struct {
	name string
	run  func(*rig)
}

// typeParts are builds of the types that one engine is enough for.
func typeParts(engine string) []part {
	return map[string][]part{
		"lxd": {
			{"a charm through the proxy", (*rig).charm},
			{"jobs through the proxy, with secrets", (*rig).jobs},
			{"jobs that fail", (*rig).failingJobs},
			{"an abort of jobs", (*rig).abortJobs},
		},
		"incus": {
			{"a live file system", (*rig).liveFS},
			{"a live file system of a language", (*rig).liveFSOfLanguage},
			{"a live file system without its tools", (*rig).liveFSWithoutTools},
			{"a rock through the proxy", (*rig).rock},
			{"a craft through the proxy, with registries", (*rig).craft},
			{"a craft that fails", (*rig).failingCraft},
			{"a craft with malware", (*rig).craftWithMalware},
			{"a craft without malware", (*rig).craftWithoutMalware},
			{"a craft that makes nothing", (*rig).emptyCraft},
			{"an abort of a craft", (*rig).abortCraft},
		},
	}[engine]
}

// ends checks and ends a build that used a token.
func (r *rig) ends(tk token) {
	r.t().Helper()
	r.rests()
	r.checkUsed(r.t(), tk, "/fetched")
	r.checkRevoked(r.t(), tk)
}

func (r *rig) abortCraft() { r.abortOf("craft") }
func (r *rig) abortJobs()  { r.abortOf("ci") }

func (r *rig) abortOf(tag string) {
	r.t().Helper()
	tk := r.token(r.t(), r.id("abort-"+tag))
	r.slow("abort-"+tag, tag, tk)
	r.abort()
	r.checkNoContainer()
	r.rests()
	r.checkRevoked(r.t(), tk)
}

// startLiveFS starts a build of a live file system, whose tools come from Debian's
// archive and the one of the fixtures.
func (r *rig) startLiveFS(id string, more map[string]any) {
	r.t().Helper()
	args := map[string]any{
		"project": "fixture", "pocket": "proposed", "datestamp": "20260102", "image_format": "squashfs",
		"extra_ppas": []any{"owner/one", "owner/two"}, "archives": r.lines,
	}
	maps.Copy(args, more)
	r.job(id, "livefs", args)
}

// liveFS builds for a variant, which the tools are told, while the container is one
// of the ABI.
func (r *rig) liveFS() {
	abi := hostArch(r.t())
	isa := abi + "v3"
	r.startLiveFS("livefs", map[string]any{"abi_tag": abi, "isa_tag": isa, "arch_tag": isa})
	// A root file system takes its time.
	r.saying("I: Configuring required packages...")
	r.saying("P: Bootstrap stage completed")
	st := r.finish("OK")
	r.checkNames(st, "livecd.fixture.environment", "livecd.fixture.manifest", "livecd.fixture.squashfs")
	for name, text := range map[string]string{
		"livecd.fixture.environment": "ARCH=" + abi + "\nARCH_VARIANT=" + isa + "\nEXTRA_PPAS=owner/one owner/two\nIMAGEFORMAT=squashfs\n" +
			"NOW=20260102\nPROJECT=fixture\nPROPOSED=1\nSUITE=bookworm\n",
		"livecd.fixture.manifest": "base-files\t",
	} {
		if data := r.result(st, name); !bytes.Contains(data, []byte(text)) {
			r.t().Errorf("%s lacks %q:\n%s", name, text, data)
		}
	}
	path := filepath.Join(r.t().TempDir(), "livecd.squashfs")
	must(r.t(), os.WriteFile(path, r.result(st, "livecd.fixture.squashfs"), 0o600))
	release, err := exec.CommandContext(r.t().Context(), "unsquashfs", "-cat", path, "usr/lib/os-release").Output()
	if err != nil || !bytes.Contains(release, []byte("VERSION_CODENAME=bookworm\n")) {
		r.t().Errorf("the image is of %q: %v", release, err)
	}
	checkLog(r.t(), r.log(), "lb bootstrap", "Result:     OK\n")
	r.rests()
}

func (r *rig) liveFSOfLanguage() {
	r.startLiveFS("language", map[string]any{"locale": "zh_CN", "archives": r.lines[1:]})
	st := r.finish("OK")
	r.checkNames(st, "livecd.locale")
	want := "--locale zh_CN --arch " + hostArch(r.t()) + " --release bookworm\n"
	if got := r.result(st, "livecd.locale"); string(got) != want {
		r.t().Errorf("ubuntu-defaults-image was asked for %q", got)
	}
	r.rests()
}

func (r *rig) liveFSWithoutTools() {
	r.startLiveFS("toolless", map[string]any{"archives": []any{}})
	r.finish("PACKAGEFAIL")
	checkLog(r.t(), r.log(), "livecd-rootfs", "Install failed\n", "Result:     PACKAGEFAIL\n")
	r.rests()
}
