package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// Gather reads the image out of Docker and hands over its manifest, its
// configuration, its layers and their digests (spec: builders.md section 7.1).
func (o *builder) Gather(ctx context.Context, env builders.Env, add func(name string, content io.ReadCloser) error) (err error) {
	dir, err := os.MkdirTemp(env.Job.Dir, "image-")
	if err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot make a temporary folder: %w", err))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image, err := saveImage(ctx, env, o.name, dir)
	if err != nil {
		return err
	}
	known, err := findKnownLayers(ctx, env)
	if err != nil {
		return err
	}
	results, err := image.results(ctx, known)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("Failed to parse manifest: %w", verdict.MarkHostFault(err)) // the text that people know
	}
	return results.each(add)
}

// result is one file to report: data, or the content of a temporary file.
type result struct {
	name, path string
	data       []byte
}

// resultList are all of them, each name once.
type resultList struct {
	list  []result
	taken map[string]string // names to paths
}

// add takes a file; images of one archive, and places of one image, may share
// it.
func (r *resultList) add(result result) error {
	if err := builders.CheckFileName(result.name); err != nil {
		return fmt.Errorf("%q: %w", result.name, err)
	}
	path, taken := r.taken[result.name]
	switch {
	case !taken:
		r.taken[result.name] = result.path
		r.list = append(r.list, result)
	case path != result.path:
		return fmt.Errorf("two files of the image would be called %q", result.name)
	}
	return nil
}

// each hands the results over.
func (r *resultList) each(add func(name string, content io.ReadCloser) error) error {
	for _, result := range r.list {
		content := io.NopCloser(bytes.NewReader(result.data))
		if result.path != "" {
			f, err := os.Open(result.path)
			if err != nil {
				return err
			}
			content = f
		}
		if err := add(result.name, content); err != nil {
			return fmt.Errorf("cannot gather %s: %w", result.name, err)
		}
	}
	return nil
}

// section is an element of manifest.json.
type section struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

// layerDigest is what digests.json says about a layer.
type layerDigest struct {
	Digest  string `json:"digest"`
	Source  string `json:"source"`
	LayerID string `json:"layer_id"`
}

// results works out what is reported. The manifest is that of Docker, except
// that names with folders in them, as in an OCI image layout, become names of
// reported files, where the client looks for them (spec: client.md section 5.1).
func (i *savedImage) results(ctx context.Context, known knownLayers) (*resultList, error) {
	manifest, _, err := i.document("manifest.json")
	if err != nil {
		return nil, err
	}
	var sections []section
	if err := json.Unmarshal(manifest, &sections); err != nil {
		return nil, err
	}
	results := &resultList{taken: map[string]string{"manifest.json": "", "digests.json": ""}}
	digests := make([]map[string]layerDigest, 0, len(sections))
	renamed := false
	for n, section := range sections {
		flat, entry, err := i.section(ctx, section, known, results)
		if err != nil {
			return nil, err
		}
		renamed = renamed || flat.Config != section.Config || section.Layers == nil || !slices.Equal(flat.Layers, section.Layers)
		sections[n] = flat
		digests = append(digests, entry)
	}
	if renamed {
		if manifest, err = json.Marshal(sections); err != nil {
			return nil, err
		}
	}
	summary, err := json.Marshal(digests)
	if err != nil {
		return nil, err
	}
	results.list = append(results.list, result{name: "manifest.json", data: manifest}, result{name: "digests.json", data: summary})
	return results, nil
}

// section adds one image's configuration and layers to the results, and
// returns the section as it is reported.
func (i *savedImage) section(ctx context.Context, s section, known knownLayers, results *resultList) (section, map[string]layerDigest, error) {
	config, file, err := i.document(s.Config)
	if err != nil {
		return s, nil, err
	}
	var image struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(config, &image); err != nil {
		return s, nil, fmt.Errorf("%q: %w", s.Config, err)
	}
	diffs := image.RootFS.DiffIDs
	if len(diffs) != len(s.Layers) {
		return s, nil, fmt.Errorf("%q names %d layers, the manifest %d", s.Config, len(diffs), len(s.Layers))
	}
	// Clients go through the layers of an image that has none, too.
	flat := section{Config: configName(s.Config), RepoTags: s.RepoTags, Layers: []string{}}
	if err := results.add(result{name: flat.Config, path: file}); err != nil {
		return s, nil, err
	}
	digests := make(map[string]layerDigest, len(diffs))
	for n, name := range s.Layers {
		layer, err := i.layer(name, diffs[n])
		if err != nil {
			return s, nil, err
		}
		id := layerID(name)
		if err := builders.CheckFileName(id); err != nil {
			return s, nil, fmt.Errorf("layer %q: %w", name, err)
		}
		digest, err := known.digest(ctx, diffs[n])
		if err != nil {
			return s, nil, err
		}
		if digest.Digest == "" {
			digest.Digest = layer.digest
		}
		digest.LayerID = id
		digests[diffs[n]] = digest
		flat.Layers = append(flat.Layers, flatLayer(name, id))
		if err := results.add(result{name: id + ".tar.gz", path: layer.path}); err != nil {
			return s, nil, err
		}
	}
	return flat, digests, nil
}

// configName is the name under which a configuration is reported. The client
// stores every file whose name ends in .json.
func configName(name string) string {
	return strings.TrimSuffix(path.Base(name), ".json") + ".json"
}

// layerID names a layer: by its folder in the classic layout, in others by its
// file, which has the name of a digest.
func layerID(name string) string {
	dir, base := path.Split(name)
	if dir == "" || base != "layer.tar" {
		return strings.TrimSuffix(strings.TrimSuffix(base, ".gz"), ".tar")
	}
	id, _, _ := strings.Cut(name, "/")
	return id
}

// flatLayer is what the reported manifest calls a layer.
func flatLayer(name, id string) string {
	if dir, base := path.Split(name); dir == "" || base != "layer.tar" {
		return id + "/layer.tar"
	}
	return name
}

// imageStore is where Docker keeps what it knows about images, below a folder
// for each storage driver (weakness P3).
const imageStore = "/var/lib/docker/image"

// pulled is the rest of the path of what Docker knows about a pulled layer.
const pulled = "distribution/v2metadata-by-diffid/sha256"

// knownLayers are the layers that Docker has pulled.
type knownLayers struct {
	target backends.Target
	paths  map[string]string // by the hex of the diff id
}

func findKnownLayers(ctx context.Context, env builders.Env) (knownLayers, error) {
	known := knownLayers{target: env.Target, paths: map[string]string{}}
	names, err := backends.Find(ctx, env.Target, imageStore, backends.FindOptions{NoDirs: true})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) {
		return known, err
	}
	for _, name := range names {
		_, rest, _ := strings.Cut(name, "/")
		if dir, id := path.Split(rest); dir == pulled+"/" && !strings.HasPrefix(id, ".") {
			known.paths[id] = imageStore + "/" + name
		}
	}
	if len(known.paths) == 0 {
		env.Say("No metadata directory at %s/*/%s", imageStore, pulled)
	}
	return known, nil
}

// digest returns what a registry calls a layer, and the repository it is from;
// nothing for a layer that was not pulled.
func (k knownLayers) digest(ctx context.Context, diffID string) (layerDigest, error) {
	_, id, _ := strings.Cut(diffID, ":")
	file, ok := k.paths[id]
	if !ok {
		return layerDigest{}, nil
	}
	data, err := backends.ReadFile(ctx, k.target, file, maxDocument)
	if err != nil {
		return layerDigest{}, err
	}
	var origins []struct {
		Digest           string
		SourceRepository string
	}
	if err := json.Unmarshal(data, &origins); err != nil {
		return layerDigest{}, fmt.Errorf("%s: %w", file, err)
	}
	if len(origins) == 0 {
		return layerDigest{}, nil
	}
	return layerDigest{Digest: origins[0].Digest, Source: origins[0].SourceRepository}, nil
}
