package types_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"lpbuildd/backends"
	"lpbuildd/backends/fake"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/types"
)

// member is one member of an archive: a folder if its name ends in a slash, a
// link if there is a target.
type member struct{ name, content, link string }

func tarOf(members ...member) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		header := tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.content)), Typeflag: tar.TypeReg}
		switch {
		case m.link != "":
			header.Typeflag, header.Linkname = tar.TypeSymlink, m.link
		case strings.HasSuffix(m.name, "/"):
			header.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(&header); err != nil {
			panic(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// layerOf is a layer with one file.
func layerOf(content string) string { return string(tarOf(member{name: "file", content: content})) }

func sum(data string) string {
	digest := sha256.Sum256([]byte(data))
	return hex.EncodeToString(digest[:])
}

func gunzip(t *testing.T, data string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// gatherImage gathers what docker save printed, and checks that no temporary
// file remains.
func gatherImage(t *testing.T, l *lab) (map[string]string, error) {
	t.Helper()
	b, err := newBuilder(t, "oci", ociArgs(), nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := l.results(t.Context(), b)
	left, readErr := os.ReadDir(l.env.Job.Dir)
	if readErr != nil || len(left) > 0 {
		t.Errorf("left in the build directory: %v, %v", left, readErr)
	}
	return found, err
}

type digest struct {
	Digest  string `json:"digest"`
	Source  string `json:"source"`
	LayerID string `json:"layer_id"`
}

// checkImage reads the results as the client does, and compares the layers, by
// diff id, with what they should be.
func checkImage(t *testing.T, found, layers map[string]string) map[string]digest {
	t.Helper()
	var manifest []struct {
		Config string
		Layers []string
	}
	var digests []map[string]digest
	if err := errors.Join(json.Unmarshal([]byte(found["manifest.json"]), &manifest), json.Unmarshal([]byte(found["digests.json"]), &digests)); err != nil {
		t.Fatal(err)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if len(manifest) != 1 || len(digests) != 1 || found[manifest[0].Config] == "" {
		t.Fatalf("the manifest is %s, the names %q", found["manifest.json"], slices.Sorted(maps.Keys(found)))
	}
	if err := json.Unmarshal([]byte(found[manifest[0].Config]), &config); err != nil {
		t.Fatal(err)
	}
	want := []string{"digests.json", "manifest.json", manifest[0].Config}
	for i, diff := range config.RootFS.DiffIDs {
		id, _, _ := strings.Cut(manifest[0].Layers[i], "/")
		name := id + ".tar.gz"
		want = append(want, name)
		got := digests[0][diff]
		if got.Source == "" && (got.Digest != sum(found[name]) || got.LayerID != id) {
			t.Errorf("%s: %+v, but %s has the digest %s", diff, got, name, sum(found[name]))
		}
		if gunzip(t, found[name]) != layers[diff] {
			t.Errorf("%s differs in %s", diff, name)
		}
	}
	slices.Sort(want)
	if names := slices.Sorted(maps.Keys(found)); !slices.Equal(names, slices.Compact(want)) {
		t.Errorf("reported %q, want %q", names, want)
	}
	return digests[0]
}

func TestGatherClassicLayout(t *testing.T) {
	const (
		manifest = `[{"Config": "config.json", "Layers": ["layer-1/layer.tar", "layer-2/layer.tar", "layer-3/layer.tar", "layer-4/layer.tar"]}]`
		config   = `{"rootfs": {"diff_ids": ["sha256:diff1", "sha256:diff2", "sha256:diff3", "sha256:diff4"]}}`
		metadata = `[{"Digest": "test_digest", "SourceRepository": "test"}, {"Digest": "diff1_digest", "SourceRepository": "other"}]`
	)
	for driver, known := range map[string]bool{"vfs": true, "overlay2": true, "": false} {
		l := newContainerLab(t)
		if known {
			l.target.AddFile("/var/lib/docker/image/"+driver+"/distribution/v2metadata-by-diffid/sha256/diff1", metadata, 0o644)
			l.target.AddFile("/var/lib/docker/image/"+driver+"/distribution/v2metadata-by-diffid/sha256/.diff2", "", 0o644)
			l.target.AddFile("/var/lib/docker/image/"+driver+"/imagedb/content/sha256/diff3", "", 0o644)
		}
		dockerSaves(l, fake.Answer{}, tarOf(
			member{name: "layer-4/"}, member{name: "layer-4/layer.tar", link: "../layer-3/layer.tar"},
			member{name: "layer-3/"}, member{name: "layer-3/layer.tar", link: "../layer-2/layer.tar"},
			member{name: "layer-1/"}, member{name: "layer-1/VERSION", content: "1.0"}, member{name: "layer-1/json", content: "{}"},
			member{name: "layer-1/layer.tar", content: layerOf("one")},
			member{name: "layer-2/"}, member{name: "layer-2/layer.tar", content: layerOf("two")},
			member{name: "config.json", content: config}, member{name: "manifest.json", content: manifest},
			member{name: "repositories", content: "{}"}, member{name: "../escape", content: "x"},
		))
		found, err := gatherImage(t, l)
		if err != nil {
			t.Fatal(err)
		}
		two := layerOf("two")
		digests := checkImage(t, found, map[string]string{
			"sha256:diff1": layerOf("one"), "sha256:diff2": two, "sha256:diff3": two, "sha256:diff4": two,
		})
		if found["manifest.json"] != manifest || found["config.json"] != config {
			t.Error("manifest and configuration are not as Docker wrote them")
		}
		if got := digests["sha256:diff1"]; known && got != (digest{"test_digest", "test", "layer-1"}) {
			t.Errorf("the pulled layer has %+v", got)
		}
		log := l.log.String()
		if n := strings.Count(log, "Processing tar file: "); n != 14 || known == strings.Contains(log, "No metadata directory at ") {
			t.Errorf("the log is %s", log)
		}
		if !strings.Contains(log, "Found symlink at layer-3/layer.tar referencing ../layer-2/layer.tar\n") {
			t.Errorf("the log is %s", log)
		}
	}
}

// diffsOf are the diff ids of layers.
func diffsOf(layers ...string) []string {
	diffs := make([]string, len(layers))
	for i, layer := range layers {
		diffs[i] = "sha256:" + sum(layer)
	}
	return diffs
}

// ociLayout is an archive as Docker 25 and newer write it, with these layer
// blobs by diff id.
func ociLayout(blobs, diffs []string) []byte {
	members := []member{{name: "blobs/"}, {name: "blobs/sha256/"}}
	var layers []string
	for _, blob := range blobs {
		name := "blobs/sha256/" + sum(blob)
		layers = append(layers, name)
		members = append(members, member{name: name, content: blob})
	}
	config := `{"architecture": "amd64", "rootfs": {"diff_ids": ` + string(mustJSON(diffs)) + `}}`
	manifest := mustJSON([]map[string]any{{"Config": "blobs/sha256/" + sum(config), "RepoTags": []string{"test-image:latest"}, "Layers": layers}})
	return tarOf(append(members,
		member{name: "blobs/sha256/" + sum(config), content: config},
		member{name: "index.json", content: `{"schemaVersion": 2}`},
		member{name: "manifest.json", content: string(manifest)},
		member{name: "oci-layout", content: `{"imageLayoutVersion": "1.0.0"}`},
		member{name: "repositories", content: `{}`},
	)...)
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func TestGatherOCILayout(t *testing.T) {
	var zipped, zstandard bytes.Buffer
	z := gzip.NewWriter(&zipped)
	s, err := zstd.NewWriter(&zstandard)
	if err != nil {
		t.Fatal(err)
	}
	_, err1 := io.WriteString(z, layerOf("zipped"))
	_, err2 := io.WriteString(s, layerOf("zstandard"))
	if err := errors.Join(err1, err2, z.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	odd := string(tarOf(member{name: `{"a": "b"}`, content: "a name like JSON"}))
	blobs := []string{layerOf("one"), zipped.String(), layerOf("two"), zstandard.String(), odd, string(make([]byte, 1024)), `{"a": "layer like JSON"}`}
	plain := []string{blobs[0], layerOf("zipped"), blobs[2], layerOf("zstandard"), odd, blobs[5], blobs[6]}
	diffs := diffsOf(plain...)
	want := map[string]string{}
	for i, diff := range diffs {
		want[diff] = plain[i]
	}
	l := newContainerLab(t)
	dockerSaves(l, fake.Answer{}, ociLayout(blobs, diffs))
	found, err := gatherImage(t, l)
	if err != nil {
		t.Fatal(err)
	}
	digests := checkImage(t, found, want)
	if got := digests[diffs[1]].Digest; got != sum(zipped.String()) {
		t.Errorf("a layer that was compressed already got another digest: %s", got)
	}
	if !strings.Contains(found["manifest.json"], `"RepoTags":["test-image:latest"]`) {
		t.Errorf("the manifest is %s", found["manifest.json"])
	}
}

// Docker says null for the layers of an image FROM scratch that has none.
func TestGatherAnImageWithoutLayers(t *testing.T) {
	for _, config := range []string{"config.json", "blobs/sha256/0123"} {
		l := newContainerLab(t)
		dockerSaves(l, fake.Answer{}, tarOf(
			member{name: "manifest.json", content: `[{"Config": "` + config + `", "RepoTags": null, "Layers": null}]`},
			member{name: config, content: `{"rootfs": {"type": "layers"}}`},
		))
		found, err := gatherImage(t, l)
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, found, nil)
		if !strings.Contains(found["manifest.json"], `"Layers":[]`) || found["digests.json"] != "[{}]" {
			t.Errorf("got %q", found)
		}
	}
}

func TestGatheringIsReproducible(t *testing.T) {
	layer := layerOf(strings.Repeat("some content\n", 500_000))
	var first map[string]string
	for _, cpus := range []int{1, 2, 7} {
		l := newContainerLab(t)
		l.env.CPUs = cpus
		dockerSaves(l, fake.Answer{}, ociLayout([]string{layer}, diffsOf(layer)))
		found, err := gatherImage(t, l)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = found
		}
		if !maps.Equal(found, first) {
			t.Errorf("other results with %d processors", cpus)
		}
	}
}

func TestGatherFails(t *testing.T) {
	manifest := func(config, layer string) []member {
		return []member{
			{name: "manifest.json", content: fmt.Sprintf(`[{"Config": %q, "Layers": [%q]}]`, config, layer)},
			{name: "config.json", content: `{"rootfs": {"diff_ids": ["sha256:1"]}}`},
			{name: "a/layer.tar", content: layerOf("x")},
		}
	}
	good := tarOf(manifest("config.json", "a/layer.tar")...)
	for _, c := range []struct {
		name    string
		archive []byte
		answer  fake.Answer
		err     string
	}{
		{"docker save fails at once", nil, fake.Answer{Code: 1}, "Unable to save image: docker save test-image: exit code 1"},
		{"docker save fails at the end", good, fake.Answer{Code: 1}, "Unable to save image"},
		{"nothing is printed", nil, fake.Answer{}, "Failed to parse manifest: \"manifest.json\" is not in the image"},
		{"the stream ends too early", good[:540], fake.Answer{}, "Tar file processing failed: \"manifest.json\": unexpected EOF"},
		{"the stream is no archive", bytes.Repeat([]byte("x"), 2048), fake.Answer{}, "Tar file processing failed"},
		{"there are too many files", tarOf(manyMembers(10_001)...), fake.Answer{}, "Tar file processing failed: the image has more than 10000 files"},
		{"a name is too long", tarOf(member{name: strings.Repeat("n", 4097)}), fake.Answer{}, "Tar file processing failed: the image has a name of more than 4096 bytes"},
		{"the manifest is no JSON", tarOf(member{name: "manifest.json", content: "x"}), fake.Answer{}, "Failed to parse manifest: invalid character"},
		{"the manifest is a layer", tarOf(member{name: "manifest.json", link: "a/layer.tar"}, member{name: "a/layer.tar"}), fake.Answer{}, "Failed to parse manifest: \"manifest.json\" is no JSON"},
		{"the configuration is missing", tarOf(manifest("none.json", "a/layer.tar")...), fake.Answer{}, "Failed to parse manifest: \"none.json\" is not in the image"},
		{"the configuration is on the host", tarOf(manifest("/etc/passwd", "a/layer.tar")...), fake.Answer{}, "is not in the image"},
		{"a layer is missing", tarOf(manifest("config.json", "b/layer.tar")...), fake.Answer{}, "Failed to parse manifest: \"b/layer.tar\" is not in the image"},
		{"a layer is a circle of links", tarOf(append(manifest("config.json", "b/layer.tar"),
			member{name: "b/layer.tar", link: "../c/layer.tar"}, member{name: "c/layer.tar", link: "../b/layer.tar"})...), fake.Answer{}, "is not in the image"},
		{"a layer has the name of a folder above", tarOf(append(manifest("config.json", "../layer.tar"),
			member{name: "../layer.tar", content: layerOf("x")})...), fake.Answer{}, "layer \"../layer.tar\": expected a single path component"},
		{"numbers of layers differ", tarOf(member{name: "manifest.json", content: `[{"Config": "config.json", "Layers": []}]`},
			member{name: "config.json", content: `{"rootfs": {"diff_ids": ["sha256:1"]}}`}), fake.Answer{}, "names 1 layers, the manifest 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newContainerLab(t)
			dockerSaves(l, c.answer, c.archive)
			found, err := gatherImage(t, l)
			if len(found) > 0 && err != nil {
				t.Errorf("reported %q", slices.Sorted(maps.Keys(found)))
			}
			wantError(t, err, c.err)
		})
	}
}

// manyMembers are links, as cheap as members can be.
func manyMembers(n int) []member {
	members := make([]member, n)
	for i := range members {
		members[i] = member{name: strconv.Itoa(i), link: "x"}
	}
	return members
}

func TestGatherPassesHostFaultsOn(t *testing.T) {
	gone := &verdict.HostFault{Err: errors.New("the container engine is gone"), Advice: "Start it."}
	for _, command := range []string{"docker save", "find /var/lib/docker/image"} {
		l := newContainerLab(t)
		dockerSaves(l, fake.Answer{}, tarOf())
		l.target.Script(command, fake.Answer{Err: gone})
		_, err := gatherImage(t, l)
		var fault *verdict.HostFault
		if !errors.As(err, &fault) {
			t.Errorf("%s: got %v", command, err)
		}
	}
}

// benchLayer is a layer of 500 MB that compresses about as well as a root file
// system does.
func benchLayer() []byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([][]byte, 4096)
	for i := range words {
		words[i] = make([]byte, 2+random.IntN(14))
		for j := range words[i] {
			words[i][j] = byte(random.IntN(256))
		}
	}
	out := make([]byte, 0, 500_000_000)
	for len(out) < cap(out)-16 {
		out = append(out, words[int(random.ExpFloat64()*400)%len(words)]...)
	}
	return out
}

// BenchmarkGatherLayers measures the way of a layer from docker save to the
// result, and beside it what the processors can compress: with pigz, by itself
// and with the library alone. The reference takes about 660 s.
func BenchmarkGatherLayers(b *testing.B) {
	layer := string(benchLayer())
	rates := map[string]float64{} // bytes a second
	for _, c := range []struct {
		name string
		run  func(b *testing.B, layer string)
	}{
		{"pigz", benchPigz},
		{"pgzip", benchPgzip},
		{"gather", benchGather},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(layer)))
			c.run(b, layer)
			rates[c.name] = float64(len(layer)) * float64(b.N) / b.Elapsed().Seconds()
			if c.name == "gather" && rates["pigz"] > 0 {
				b.ReportMetric(100*rates["gather"]/rates["pigz"], "%-of-pigz")
			}
		})
	}
}

// benchGather is Gather with a docker save that prints the layer.
func benchGather(b *testing.B, layer string) {
	archive := ociLayout([]string{layer}, diffsOf(layer))
	target := fake.New()
	target.Script("docker save", fake.Answer{Do: func(_ context.Context, _ *fake.Target, cmd backends.Command) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{cmd.Stdout}, struct{ io.Reader }{bytes.NewReader(archive)}, make([]byte, 32<<10))
		return err
	}})
	env := builders.Env{Job: builders.Job{Dir: b.TempDir()}, Target: target, Log: io.Discard, CPUs: runtime.NumCPU()}
	typ, err := types.Find("oci")
	check(b, err)
	image, err := typ.New(ociArgs(), nil)
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		check(b, image.Gather(b.Context(), env, func(_ string, content io.ReadCloser) error {
			_, err := io.Copy(io.Discard, content)
			return errors.Join(err, content.Close())
		}))
	}
}

// benchPigz is what Debian's parallel gzip can do.
func benchPigz(b *testing.B, layer string) {
	if _, err := exec.LookPath("pigz"); err != nil {
		b.Skip("needs the package pigz")
	}
	for b.Loop() {
		pigz := exec.CommandContext(b.Context(), "pigz", "-6", "--stdout")
		pigz.Stdin = strings.NewReader(layer)
		check(b, pigz.Run())
	}
}

// benchPgzip is the library that Gather uses, by itself.
func benchPgzip(b *testing.B, layer string) {
	for b.Loop() {
		w, err := pgzip.NewWriterLevel(io.Discard, 6)
		check(b, err)
		_, err = io.WriteString(w, layer)
		check(b, errors.Join(err, w.Close()))
	}
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
