//go:build integration

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/buildd"
)

// rig is a builder whose builds run in containers of one engine.
type rig struct {
	*builder
	*fixtures
	cli      string // the engine's command-line client
	instance string
	bridge   string
	image    string // the SHA-1 of the base image
	config   string // what the configuration has more than others
	// parked are the tokens that a test which was killed has left in the kernel.
	parked []string
}

// newRig starts a builder, with more configuration. Its containers and network
// end with the test.
func newRig(t *testing.T, f *fixtures, engine, cli string, more ...string) *rig {
	t.Helper()
	conn, err := net.Dial("unix", "/var/lib/"+engine+"/unix.socket")
	if err != nil {
		t.Skipf("needs %s, which .ci/containers starts: %v", engine, err)
	}
	_ = conn.Close()
	needPrograms(t, cli)
	r := &rig{fixtures: f, cli: cli, instance: "e2e-" + engine}
	r.bridge = bridge.NameFor(r.instance)
	r.parked = r.parkedTokens()
	// Before that of the builder, which ends later.
	t.Cleanup(func() { r.remove(t) })
	subnet := map[string]string{"lxd": "10.211.61.0/24", "incus": "10.211.62.0/24"}[engine]
	r.config = fmt.Sprintf("[backend]\ncontainer = %s\npool = btrfs\ninstance = %s\nsubnet = %s\n%s", engine, r.instance, subnet, strings.Join(more, ""))
	r.builder = newBuilder(t, options{config: r.config})
	return r
}

// within is the same rig for a part of the test.
func (r *rig) within(t *testing.T) *rig {
	part := *r
	part.builder = r.builder.within(t)
	return &part
}

// engine asks the engine's client, and returns what it prints.
func (r *rig) engine(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, r.cli, args...).Output()
	if err != nil {
		t.Errorf("%s %v: %v", r.cli, args, err)
	}
	return string(out)
}

// made lists the containers, or the profiles, of this builder.
func (r *rig) made(t *testing.T, list ...string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(r.engine(t, append(list, "--format", "csv")...)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), ","); strings.Contains(name, "-"+r.instance+"-") {
			names = append(names, name)
		}
	}
	return names
}

func (r *rig) containers(t *testing.T) []string { t.Helper(); return r.made(t, "list") }
func (r *rig) profiles(t *testing.T) []string   { t.Helper(); return r.made(t, "profile", "list") }

// remove takes away what a failed test has left.
func (r *rig) remove(t *testing.T) {
	for _, name := range r.containers(t) {
		r.engine(t, "delete", "--force", name)
	}
	for _, name := range r.profiles(t) {
		r.engine(t, "profile", "delete", name)
	}
	if err := bridge.Clean(context.WithoutCancel(t.Context()), backends.Host{}, r.bridge); err != nil {
		t.Error(err)
	}
}

// containerLeaks lists what a builder at rest must not have beside its files.
func (r *rig) containerLeaks(t *testing.T) []string {
	t.Helper()
	found := slices.Concat(r.containers(t), r.profiles(t))
	if _, err := os.Stat("/sys/class/net/" + r.bridge); err == nil {
		found = append(found, "bridge "+r.bridge)
	}
	for _, list := range [][]string{{"iptables-save"}, {"ip6tables-save"}, {"nft", "list", "ruleset"}} {
		out, _ := exec.CommandContext(t.Context(), list[0], list[1:]...).Output() // not every machine has all
		if strings.Contains(string(out), r.bridge) {
			found = append(found, "rules of "+list[0])
		}
	}
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		data, _ := os.ReadFile(path) // gone meanwhile
		if bytes.Contains(data, []byte(r.bridge)) || bytes.Contains(data, []byte("-"+r.instance+"-")) {
			found = append(found, path+": "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	for _, key := range r.parkedTokens() {
		if !slices.Contains(r.parked, key) {
			found = append(found, "a parked token: "+key)
		}
	}
	return found
}

// parkedTokens are the keys of this builder in the kernel.
func (r *rig) parkedTokens() []string {
	var found []string
	keys, _ := os.ReadFile("/proc/keys")
	for line := range strings.Lines(string(keys)) {
		if strings.Contains(line, "lpbuildd:"+r.instance+"-") {
			serial, _, _ := strings.Cut(line, " ")
			found = append(found, serial)
		}
	}
	return found
}

// rests brings a builder that waits to rest, and checks that nothing is left.
func (r *rig) rests() {
	r.t().Helper()
	must(r.t(), r.client.Clean(r.t().Context()))
	r.checkNothingLeft()
}

func (r *rig) checkNothingLeft() {
	r.t().Helper()
	var found []string
	deadline := time.Now().Add(patience)
	for found = r.containerLeaks(r.t()); len(found) > 0; found = r.containerLeaks(r.t()) {
		if time.Now().After(deadline) {
			r.t().Fatalf("left behind: %s", strings.Join(found, "\n\t"))
		}
		<-time.After(10 * pollPause)
	}
	r.checkLeaks()
}

func (r *rig) t() *testing.T { return r.builder.t }

// id is that of a build of this rig.
func (r *rig) id(name string) string { return r.instance + "-" + name }

// job starts a build of the fixture repository of its type. All that it needs
// from the archive of this machine is in the image.
func (r *rig) job(id, tag string, more map[string]any) {
	r.t().Helper()
	args := map[string]any{
		"name": "test-build", "series": "bookworm", "arch_tag": hostArch(r.t()), "image_type": "chroot",
		"git_repository": r.url + "/git/" + tag + ".git", "archives": r.lines[1:],
		"jobs": []any{[]any{[]any{"build", int64(1)}}},
	}
	maps.Copy(args, more)
	r.accepts(buildd.Request{BuildID: r.id(id), Tag: tag, Image: r.image, Args: args})
}

// slow starts a build that takes ten minutes, and waits until it is there.
func (r *rig) slow(id, tag string, tk token) {
	r.t().Helper()
	args := tk.args()
	args["git_path"] = "slow"
	r.job(id, tag, args)
	r.saying(map[string]string{
		"oci": "RUN sleep 600", "snap": "Building (fixture)", "craft": "Packing (fixture)", "ci": "Running the job build:1 (fixture)",
	}[tag])
}

// saying waits until the log of the build that runs has a text.
func (r *rig) saying(text string) {
	r.t().Helper()
	r.eventually("the log says "+text, func() bool {
		// In this order: what is not in the log of a build that is over never will be.
		st := r.status()
		log := r.log()
		said := strings.Contains(log, text)
		if st.State == buildd.Waiting && !said {
			r.t().Fatalf("the build ended as %s, and its log does not say %q:\n%s", st.Outcome, text, log)
		}
		return said
	})
}

// checkOCI checks the results of a build of the image.
func (r *rig) checkOCI(st buildd.Status) {
	t := r.t()
	t.Helper()
	document := func(name string, into any) {
		t.Helper()
		data, err := r.download(st.FileMap[name])
		must(t, errors.Join(err, json.Unmarshal(data, into)))
	}
	var sections []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	document("manifest.json", &sections)
	var digests []map[string]struct{ Digest, Source, LayerID string }
	data, err := r.download(st.FileMap["digests.json"])
	must(t, err)
	must(t, json.Unmarshal(bytes.ReplaceAll(data, []byte("layer_id"), []byte("LayerID")), &digests))
	if len(sections) != 1 || len(digests) != 1 || len(digests[0]) == 0 || len(sections[0].Layers) != len(digests[0]) {
		t.Fatalf("manifest.json is %+v, digests.json %+v", sections, digests)
	}
	document(sections[0].Config, &struct{}{})
	files := map[string]string{}
	for diff, d := range digests[0] {
		data, err := r.download(st.FileMap[d.LayerID+".tar.gz"])
		must(t, err)
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != d.Digest {
			t.Errorf("the layer %s is %s and not %s", d.LayerID, got, d.Digest)
		}
		if !slices.Contains(sections[0].Layers, d.LayerID+"/layer.tar") {
			t.Errorf("the manifest has no layer %s: %v", d.LayerID, sections[0].Layers)
		}
		if got := unpack(t, data, files); got != diff {
			t.Errorf("the layer %s has the diff id %s and not %s", d.LayerID, got, diff)
		}
	}
	if files["made/done"] != "done\n" || files["version"] != "version 2\n" || len(files["bin/busybox"]) == 0 {
		t.Errorf("the image has %v", slices.Sorted(maps.Keys(files)))
	}
	if want := len(digests[0]) + 3; len(st.FileMap) != want {
		t.Errorf("the results are %v, and should be %d", st.FileMap, want)
	}
}

// unpack reads a layer's files, and returns its diff id.
func unpack(t *testing.T, layer []byte, files map[string]string) string {
	t.Helper()
	zipped, err := gzip.NewReader(bytes.NewReader(layer))
	must(t, err)
	plain, err := io.ReadAll(zipped)
	must(t, err)
	archive := tar.NewReader(bytes.NewReader(plain))
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Sprintf("sha256:%x", sha256.Sum256(plain))
		}
		must(t, err)
		content, err := io.ReadAll(archive)
		must(t, err)
		files[strings.TrimPrefix(header.Name, "./")] = string(content)
	}
}

// checkSnap checks the results of a build of the snap.
func (r *rig) checkSnap(st buildd.Status) {
	t := r.t()
	t.Helper()
	name := "fixture-snap_1.2_" + hostArch(t) + ".snap"
	data, err := r.download(st.FileMap[name])
	must(t, err)
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, data, 0o644))
	list, err := exec.CommandContext(t.Context(), "unsquashfs", "-l", path).CombinedOutput()
	if err != nil || !strings.Contains(string(list), "/meta/snap.yaml") {
		t.Errorf("unsquashfs: %v\n%s", err, list)
	}
	fetched, err := exec.CommandContext(t.Context(), "unsquashfs", "-cat", path, "fetched").Output()
	if err != nil || string(fetched) != "fetched by a build\n" {
		t.Errorf("the snap has fetched %q: %v", fetched, err)
	}
	commit, err := exec.CommandContext(t.Context(), "git", "--git-dir", filepath.Join(r.fixtures.dir, "www/git/snap.git"), "rev-parse", "main").Output()
	must(t, err)
	if got := st.Extra["revision_id"]; got != strings.TrimSpace(string(commit)) {
		t.Errorf("the revision is %v and not %s", got, commit)
	}
}
