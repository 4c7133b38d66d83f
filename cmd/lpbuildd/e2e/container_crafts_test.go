//go:build integration

package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
)

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
	secrets := []string{tk.password, "c4rg0-t0ken-value", "m4v3n-t0ken<&>value", "4ll-t0ken-value"}
	args := tk.args()
	args["build_path"] = "sub"
	args["environment_variables"] = map[string]any{
		"CARGO_FIX_URL": "sparse+https://cargo.invalid/index/", "CARGO_FIX_READ_AUTH": "reader:" + secrets[1],
		"MAVEN_FIX_URL": "https://maven.invalid/repository", "MAVEN_FIX_READ_AUTH": "reader:" + secrets[2],
		"MAVEN_REPO_URL": "https://maven.invalid/all", "MAVEN_REPO_AUTH": "reader:" + secrets[3],
	}
	r.job("craft", "craft", args)
	st := r.finish("OK")
	r.checkNames(st, "fixture-craft_1.2_amd64.tar.xz")
	content := string(unpacked(r.t(), "a.xz", r.result(st, "fixture-craft_1.2_amd64.tar.xz")))
	for _, text := range []string{
		fmt.Sprintf("CARGO_REGISTRIES_FIX_TOKEN sha256 %x\n", sha256.Sum256([]byte("Bearer "+secrets[1]))),
		"settings.xml has <id>fix</id>\n", "settings.xml has <id>repo</id>\n", "fetched by a build\n",
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

// The scanner is Debian's; what it knows is of a fixture.
func (r *rig) craftWithMalware() {
	r.job("malware", "craft", map[string]any{"git_path": "malware", "scan_malware": true, "archives": r.lines})
	st := r.finish("PACKAGEFAIL")
	r.checkNames(st)
	checkLog(r.t(), r.log(), "Downloading malware definitions...\n", "/home/buildd/test-build/fixture-craft_1.2_amd64.tar.xz: Fixture-Eicar.UNOFFICIAL FOUND\n",
		"malware was found", "Result:     PACKAGEFAIL\n")
	r.rests()
}

func (r *rig) craftWithoutMalware() {
	r.job("harmless", "craft", map[string]any{"build_path": "sub", "scan_malware": true, "archives": r.lines})
	st := r.finish("OK")
	r.checkNames(st, "fixture-craft_1.2_amd64.tar.xz")
	checkLog(r.t(), r.log(), "--scan-malware", "/home/buildd/test-build/sub/fixture-craft_1.2_amd64.tar.xz: OK\n", "Infected files: 0\n")
	r.rests()
}

func (r *rig) emptyCraft() {
	r.job("empty", "craft", map[string]any{"git_path": "nothing"})
	st := r.finish("OK")
	r.checkNames(st)
	checkLog(r.t(), r.log(), "WARNING: the build made no .tar.xz file in /home/buildd/test-build.")
	r.rests()
}
