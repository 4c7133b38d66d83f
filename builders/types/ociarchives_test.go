package types_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends/fake"
)

// bigLayer is larger than any document may be, and compresses well.
func bigLayer() string { return layerOf(strings.Repeat("0123456789abcdef", 1<<20+1)) }

// configOf is the configuration of an image with these layers.
func configOf(layers ...string) string {
	return string(mustJSON(map[string]any{"rootfs": map[string]any{"type": "layers", "diff_ids": diffsOf(layers...)}}))
}

// manifestOf is a manifest.json with one image.
func manifestOf(config string, layers ...string) member {
	section := map[string]any{"Config": config, "RepoTags": []string{"test:latest", "test:1"}, "Layers": layers}
	return member{name: "manifest.json", content: string(mustJSON([]any{section}))}
}

func zip(t *testing.T, data string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := io.WriteString(w, data)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// The archives of Podman, Skopeo and others than Docker have names of their own.
func TestGatherArchivesOfOtherPrograms(t *testing.T) {
	one, two, big := layerOf("one"), layerOf("two"), bigLayer()
	zipped, zipped2 := zip(t, one), zip(t, two)
	like := `{"a": "layer like JSON"}` + strings.Repeat(" ", 17<<20)
	for _, c := range []struct {
		name    string
		layers  []string
		members []member
	}{
		{"layers at the top, which links name too", []string{big, one, big}, []member{
			{name: sum(big) + ".tar", content: big},
			{name: strings.Repeat("1", 64) + "/"},
			{name: strings.Repeat("1", 64) + "/layer.tar", link: "../" + sum(big) + ".tar"},
			{name: strings.Repeat("1", 64) + "/VERSION", content: "1.0"},
			{name: strings.Repeat("1", 64) + "/json", content: "{}"},
			{name: sum(one) + ".tar", content: one},
			{name: sum(configOf(big, one, big)) + ".json", content: configOf(big, one, big)},
			{name: "repositories", content: "{}"},
			manifestOf(sum(configOf(big, one, big))+".json", sum(big)+".tar", sum(one)+".tar", sum(big)+".tar"),
		}},
		{"layers that are links", []string{two, one}, []member{
			{name: "a/layer.tar", link: "../" + sum(two) + ".tar"},
			{name: "b/layer.tar", link: "../b.tar"},
			{name: "b.tar", link: sum(one) + ".tar"},
			manifestOf("config", "a/layer.tar", "b/layer.tar"),
			{name: "config", content: configOf(two, one)},
			{name: sum(two) + ".tar", content: two},
			{name: sum(one) + ".tar", content: one},
		}},
		{"compressed layers at the top, before and behind the manifest", []string{two, one}, []member{
			{name: sum(zipped2) + ".tar.gz", content: zipped2},
			manifestOf("sha256:"+sum(configOf(two, one)), sum(zipped2)+".tar.gz", sum(zipped)+".tar.gz"),
			{name: sum(zipped) + ".tar.gz", content: zipped},
			{name: "sha256:" + sum(configOf(two, one)), content: configOf(two, one)},
		}},
		{"a blob like JSON that is larger than documents", []string{like, one}, []member{
			{name: "blobs/sha256/" + sum(like), content: like},
			{name: "blobs/sha256/" + sum(one), content: one},
			{name: "blobs/sha256/" + sum(configOf(like, one)), content: configOf(like, one)},
			manifestOf("blobs/sha256/"+sum(configOf(like, one)), "blobs/sha256/"+sum(like), "blobs/sha256/"+sum(one)),
		}},
		{"a document that is a layer, twice", []string{"{}", "{}"}, []member{
			{name: "blobs/sha512/0123", content: "{}"},
			{name: "config.json", content: configOf("{}", "{}")},
			manifestOf("config.json", "blobs/sha512/0123", "blobs/sha512/0123"),
		}},
		{"layers in folders of another depth", []string{one, two}, []member{
			{name: "layers/one.tar", content: one},
			{name: "layers/two.tar", content: two},
			{name: "images/config.json", content: configOf(one, two)},
			manifestOf("images/config.json", "layers/one.tar", "layers/two.tar"),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newContainerLab(t)
			dockerSaves(l, fake.Answer{}, tarOf(c.members...))
			found, err := gatherImage(t, l)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			for n, diff := range diffsOf(c.layers...) {
				want[diff] = c.layers[n]
			}
			checkImage(t, found, want)
			if !strings.Contains(found["manifest.json"], `"RepoTags":["test:latest","test:1"]`) {
				t.Errorf("the manifest is %s", found["manifest.json"])
			}
		})
	}
}

// Several images may share layers, and even their configuration.
func TestGatherSeveralImages(t *testing.T) {
	one, two := layerOf("one"), layerOf("two")
	section := func(config string, layers ...string) map[string]any {
		return map[string]any{"Config": config, "Layers": layers}
	}
	sections := []any{section("1.json", sum(one)+".tar"), section("2.json", sum(one)+".tar", sum(two)+".tar"), section("1.json", sum(one)+".tar")}
	l := newContainerLab(t)
	dockerSaves(l, fake.Answer{}, tarOf(
		member{name: sum(one) + ".tar", content: one}, member{name: sum(two) + ".tar", content: two},
		member{name: "1.json", content: configOf(one)}, member{name: "2.json", content: configOf(one, two)},
		member{name: "manifest.json", content: string(mustJSON(sections))},
	))
	found, err := gatherImage(t, l)
	if err != nil {
		t.Fatal(err)
	}
	var digests []map[string]digest
	if err := json.Unmarshal([]byte(found["digests.json"]), &digests); err != nil || len(digests) != 3 || len(digests[1]) != 2 {
		t.Errorf("the digests are %s, %v", found["digests.json"], err)
	}
	want := []string{"1.json", "2.json", "digests.json", "manifest.json", sum(one) + ".tar.gz", sum(two) + ".tar.gz"}
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) || gunzip(t, found[sum(two)+".tar.gz"]) != two {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What is reported is what the image says that it is, or nothing is.
func TestGatherVerifiesLayers(t *testing.T) {
	one, two := layerOf("one"), layerOf("two")
	zipped := zip(t, one)
	image := func(content string) []member {
		return []member{{name: "a.tar", content: content}, {name: "c.json", content: configOf(one)}, manifestOf("c.json", "a.tar")}
	}
	blob := "blobs/sha256/" + sum(configOf(one))
	for name, c := range map[string]struct {
		members []member
		want    string
	}{
		"another layer": {image(two), `Failed to parse manifest: layer "a.tar" is not what the configuration says: its SHA-256 is ` + sum(two) + ", not " + sum(one)},
		"layers in another order": {
			[]member{{name: "a.tar", content: two}, {name: "b.tar", content: one}, {name: "c.json", content: configOf(one, two)}, manifestOf("c.json", "a.tar", "b.tar")},
			`layer "a.tar" is not what the configuration says`,
		},
		"a layer that lacks its end":          {image(one[:len(one)-512]), `layer "a.tar" is not what the configuration says`},
		"an empty layer":                      {image(""), `layer "a.tar" is not what the configuration says`},
		"another layer in a zip":              {image(zip(t, two)), `layer "a.tar" is not what the configuration says`},
		"a zip that lacks its end":            {image(zipped[:len(zipped)-5]), `"a.tar": its gzip data cannot be read: unexpected EOF`},
		"a zip with a wrong checksum":         {image(zipped[:len(zipped)-8] + "12345678"), `"a.tar": its gzip data cannot be read: gzip: invalid checksum`},
		"garbage behind a zip":                {image(zipped + "garbage garbage"), `"a.tar": its gzip data cannot be read`},
		"a zip of two members":                {image(zipped + zip(t, two)), `layer "a.tar" is not what the configuration says`},
		"a configuration with another digest": {[]member{{name: "a.tar", content: one}, {name: blob, content: configOf(one) + "\n"}, manifestOf(blob, "a.tar")}, `"` + blob + `" has the SHA-256 ` + sum(configOf(one)+"\n")},
		"a configuration of Podman with another digest": {
			[]member{{name: "a.tar", content: one}, {name: sum(two) + ".json", content: configOf(one)}, manifestOf(sum(two)+".json", "a.tar")},
			`"` + sum(two) + `.json" has the SHA-256 ` + sum(configOf(one)),
		},
		"a manifest larger than all documents": {[]member{{name: "manifest.json", content: "[" + strings.Repeat(" ", 16<<20) + "]"}}, `"manifest.json" is no JSON of at most 16777216 bytes`},
		"two layers of one name": {
			[]member{{name: "x/a/layer.tar", content: one}, {name: "x/b/layer.tar", content: two}, {name: "c.json", content: configOf(one, two)}, manifestOf("c.json", "x/a/layer.tar", "x/b/layer.tar")},
			`two files of the image would be called "x.tar.gz"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newContainerLab(t)
			dockerSaves(l, fake.Answer{}, tarOf(c.members...))
			found, err := gatherImage(t, l)
			wantError(t, err, c.want)
			if len(found) > 0 {
				t.Errorf("reported %q", slices.Sorted(maps.Keys(found)))
			}
		})
	}
}

// Nobody can verify by an id that is no digest; the log says so.
func TestGatherSaysWhatItCannotVerify(t *testing.T) {
	l := newContainerLab(t)
	dockerSaves(l, fake.Answer{}, ociLayout([]string{layerOf("one")}, []string{"sha512:1234"}))
	if _, err := gatherImage(t, l); err != nil {
		t.Fatal(err)
	}
	want := "Cannot verify layer blobs/sha256/" + sum(layerOf("one")) + `: its diff id "sha512:1234" is no SHA-256.`
	if !strings.Contains(l.log.String(), want) {
		t.Errorf("the log is %s", l.log.String())
	}
}
