//go:build integration

package main_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
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
			{"a craft that makes nothing", (*rig).emptyCraft},
			{"an abort of a craft", (*rig).abortCraft},
		},
	}[engine]
}

// result downloads a result of a build.
func (r *rig) result(st buildd.Status, name string) []byte {
	r.t().Helper()
	if st.FileMap[name] == "" {
		r.t().Fatalf("the results are %v, without %s", st.FileMap, name)
	}
	data, err := r.download(st.FileMap[name])
	must(r.t(), err)
	return data
}

// checkNames fails unless a build has exactly these results.
func (r *rig) checkNames(st buildd.Status, names ...string) {
	r.t().Helper()
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(st.FileMap)); !slices.Equal(got, names) {
		r.t().Errorf("the results are %q and not %q", got, names)
	}
}

// hides fails if anyone who may look at a build that waits finds a secret: in
// its log, its status, its results, or anywhere in the daemon's folder.
func (r *rig) hides(st buildd.Status, secrets ...string) {
	r.t().Helper()
	told, err := json.Marshal(st)
	must(r.t(), err)
	for _, secret := range secrets {
		r.findNowhere(secret)
		if bytes.Contains(told, []byte(secret)) {
			r.t().Errorf("the status has the secret %s", secret)
		}
		for name := range st.FileMap {
			if bytes.Contains(unpacked(r.t(), name, r.result(st, name)), []byte(secret)) {
				r.t().Errorf("the result %s has the secret %s", name, secret)
			}
		}
	}
}

// unpacked is all that an archive holds, one after the other.
func unpacked(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	switch filepath.Ext(name) {
	case ".gz":
		plain, err := gzip.NewReader(bytes.NewReader(data))
		must(t, err)
		data, err = io.ReadAll(plain)
		must(t, err)
	case ".xz":
		unxz := exec.CommandContext(t.Context(), "xz", "-dc")
		unxz.Stdin = bytes.NewReader(data)
		out, err := unxz.Output()
		must(t, err)
		data = out
	case ".charm":
		var all []byte
		for _, text := range members(t, data) {
			all = append(all, text...)
		}
		data = all
	}
	return data
}

// members are the files of a zip archive.
func members(t *testing.T, data []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	files := map[string]string{}
	for _, member := range archive.File {
		f, err := member.Open()
		must(t, err)
		text, err := io.ReadAll(f)
		must(t, err)
		files[member.Name] = string(text)
	}
	return files
}

// ends checks and ends a build that used a token.
func (r *rig) ends(tk token) {
	r.t().Helper()
	r.rests()
	r.checkUsed(r.t(), tk, "/fetched")
	r.checkRevoked(r.t(), tk)
}

func (r *rig) charm() {
	tk := r.token(r.t(), r.id("charm"))
	args := tk.args()
	args["channels"] = map[string]any{"charmcraft": "latest/edge", "hello": "stable"}
	args["craft_platform"] = "ubuntu-24.04"
	r.job("charm", "charm", args)
	st := r.finish("OK")
	r.checkNames(st, "fixture-charm_ubuntu-24.04-amd64.charm")
	files := members(r.t(), r.result(st, "fixture-charm_ubuntu-24.04-amd64.charm"))
	if files["fetched"] != "fetched by a build\n" || !strings.Contains(files["environment"], "CRAFT_PLATFORM=ubuntu-24.04\n") {
		r.t().Errorf("the charm has %q", files)
	}
	if got := st.Extra["revision_id"]; got != r.commit("charm", "main") {
		r.t().Errorf("the revision is %v", got)
	}
	checkLog(r.t(), r.log(), "hello (fixture) installed: snap install --channel=stable hello",
		"charmcraft (fixture) installed: snap install --classic --channel=latest/edge charmcraft")
	r.hides(st, tk.password)
	r.ends(tk)
}

func (r *rig) rock() {
	tk := r.token(r.t(), r.id("rock"))
	r.job("rock", "rock", tk.args())
	st := r.finish("OK")
	r.checkNames(st, "fixture-rock_1.2_amd64.rock")
	data := r.result(st, "fixture-rock_1.2_amd64.rock")
	for _, text := range []string{"oci-layout", "index.json", "fetched by a build\n"} {
		if !bytes.Contains(data, []byte(text)) {
			r.t().Errorf("the rock lacks %q", text)
		}
	}
	r.hides(st, tk.password)
	r.ends(tk)
}

func (r *rig) craft() {
	tk := r.token(r.t(), r.id("craft"))
	secrets := []string{tk.password, "c4rg0-t0ken-value", "m4v3n-t0ken<&>value"}
	args := tk.args()
	args["build_path"] = "sub"
	args["environment_variables"] = map[string]any{
		"CARGO_FIX_URL": "sparse+https://cargo.invalid/index/", "CARGO_FIX_READ_AUTH": "reader:" + secrets[1],
		"MAVEN_FIX_URL": "https://maven.invalid/repository", "MAVEN_FIX_READ_AUTH": "reader:" + secrets[2],
	}
	r.job("craft", "craft", args)
	st := r.finish("OK")
	r.checkNames(st, "fixture-craft_1.2_amd64.tar.xz")
	content := string(unpacked(r.t(), "a.xz", r.result(st, "fixture-craft_1.2_amd64.tar.xz")))
	for _, text := range []string{
		fmt.Sprintf("CARGO_REGISTRIES_FIX_TOKEN sha256 %x\n", sha256.Sum256([]byte("Bearer "+secrets[1]))),
		"settings.xml has <id>fix</id>\n", "fetched by a build\n",
	} {
		if !strings.Contains(content, text) {
			r.t().Errorf("the craft lacks %q", text)
		}
	}
	r.hides(st, secrets...)
	r.ends(tk)
}

func (r *rig) failingCraft() {
	r.job("failing", "craft", map[string]any{"git_path": "fail"})
	st := r.finish("PACKAGEFAIL")
	r.checkNames(st)
	checkLog(r.t(), r.log(), "sourcecraft (fixture): failing", "Build failed\n", "Result:     PACKAGEFAIL\n")
	r.rests()
}

func (r *rig) emptyCraft() {
	r.job("empty", "craft", map[string]any{"git_path": "nothing"})
	st := r.finish("OK")
	r.checkNames(st)
	checkLog(r.t(), r.log(), "WARNING: the build made no .tar.xz file in /home/buildd/test-build.")
	r.rests()
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

// jobSecrets are what a pipeline must not tell, in this order: those of its
// repositories, its plug-in, its secrets and its environment.
var jobSecrets = []string{"r3p0-passw0rd", "plug1n-t0ken-value", "s0ss-t0ken-value", "env-t0ken-value"}

// pipeline is jobs in stages, with secrets, and a token.
func (r *rig) pipeline(tk token, more map[string]any) map[string]any {
	args := tk.args()
	maps.Copy(args, map[string]any{
		"jobs": []any{
			[]any{[]any{"build", int64(0)}, []any{"build", int64(1)}},
			[]any{[]any{"test", int64(0)}},
			[]any{[]any{"none", int64(7)}}, // which the repository does not know
		},
		"package_repositories":  []any{"deb [trusted=yes] http://reader:" + jobSecrets[0] + "@archive.invalid/ bookworm main"},
		"plugin_settings":       map[string]any{"token": jobSecrets[1]},
		"secrets":               map[string]any{"soss_read_auth": "reader:" + jobSecrets[2]},
		"environment_variables": map[string]any{"MODE": "quick", "TEST_READ_AUTH": "reader:" + jobSecrets[3]},
	})
	maps.Copy(args, more)
	return args
}

func (r *rig) jobs() {
	tk := r.token(r.t(), r.id("ci"))
	r.job("ci", "ci", r.pipeline(tk, nil))
	st := r.finish("OK")
	r.checkNames(st, "build:0.log", "build:0.properties", "build:0/ci.whl", "build:0/deep.txt",
		"build:1.log", "build:1/fetched", "test:0.log", "test:0/ci.tar.gz", "none:7.log")
	r.checkJobs(st, map[string]string{"build:0": "SUCCEEDED", "build:1": "SUCCEEDED", "test:0": "SUCCEEDED", "none:7": "SUCCEEDED"})
	for name, text := range map[string]string{
		"build:0.log": "mode 600\n", "build:0/ci.whl": "wheel\n", "build:1.log": "MODE is quick\n", "build:1/fetched": "fetched by a build\n",
		"build:0.properties": `"properties"`, "none:7.log": "Skipping none:7 (fixture)\n",
	} {
		if data := r.result(st, name); !bytes.Contains(data, []byte(text)) {
			r.t().Errorf("%s lacks %q:\n%s", name, text, data)
		}
	}
	// The job has shown them all, so that they were there.
	data := string(r.result(st, "build:0.log"))
	checkLog(r.t(), data, "the secrets are in /build/.launchpad-secrets.yaml\n", "soss_read_auth", "the plug-in has ", "With deb ")
	r.hides(st, append([]string{tk.password}, jobSecrets...)...)
	r.ends(tk)
}

func (r *rig) failingJobs() {
	tk := r.token(r.t(), r.id("ci-fail"))
	r.job("ci-fail", "ci", r.pipeline(tk, map[string]any{"git_path": "fail"}))
	st := r.finish("PACKAGEFAIL")
	// The others of its stage are run, those after it are not.
	r.checkJobs(st, map[string]string{"build:0": "FAILED", "build:1": "SUCCEEDED"})
	r.checkNames(st, "build:0.log", "build:1.log", "build:1/fetched")
	if data := r.result(st, "build:0.log"); !bytes.Contains(data, []byte("failing\n")) {
		r.t().Errorf("the log of the job is\n%s", data)
	}
	checkLog(r.t(), r.log(), "Job build:0 failed.\n", "Some jobs in ['build:0', 'build:1'] failed; stopping.\n")
	r.hides(st, append([]string{tk.password}, jobSecrets...)...)
	r.rests()
	r.checkRevoked(r.t(), tk)
}

// checkJobs compares how jobs ended, and looks for what the status says of them
// among the results.
func (r *rig) checkJobs(st buildd.Status, want map[string]string) {
	r.t().Helper()
	jobs, _ := st.Extra["jobs"].(map[string]any)
	got := map[string]string{}
	for id, told := range jobs {
		job, _ := told.(map[string]any)
		got[id] = fmt.Sprint(job["result"])
		output, _ := job["output"].(map[string]any)
		for name, sum := range output {
			if st.FileMap[id+"/"+name] != sum {
				r.t().Errorf("the output %s of %s is %v, and not a result", name, id, sum)
			}
		}
		for _, name := range []string{"log", "properties"} {
			if sum, told := job[name]; told && st.FileMap[id+"."+name] != sum {
				r.t().Errorf("%s of %s is %v, and not a result", name, id, sum)
			}
		}
	}
	if !maps.Equal(got, want) {
		r.t().Errorf("the jobs ended as %v and not as %v", got, want)
	}
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

func (r *rig) liveFS() {
	r.startLiveFS("livefs", nil)
	// A root file system takes its time.
	r.saying("I: Configuring required packages...")
	r.saying("P: Bootstrap stage completed")
	st := r.finish("OK")
	r.checkNames(st, "livecd.fixture.environment", "livecd.fixture.manifest", "livecd.fixture.squashfs")
	for name, text := range map[string]string{
		"livecd.fixture.environment": "ARCH=" + hostArch(r.t()) + "\nEXTRA_PPAS=owner/one owner/two\nIMAGEFORMAT=squashfs\n" +
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
