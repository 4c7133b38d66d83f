package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

const (
	// layerLevel is the compression of layers: level 9 takes several times as
	// long for one per cent.
	layerLevel = 6
	// layerBlock is how much each processor compresses at a time.
	layerBlock = 1 << 20
	// maxDocument limits the JSON files of an image, maxMembers all its files. An
	// image has at most 127 layers, each of three files in the classic layout.
	maxDocument = 16 << 20
	maxMembers  = 10_000
	// maxName limits the names of its files.
	maxName = 4096
	// maxZstdWindow limits the memory for a layer that comes compressed.
	maxZstdWindow = 128 << 20
	// blobs is the folder of an OCI image layout, in which a file is named by its
	// digest.
	blobs = "blobs/sha256/"
)

// savedImage is what "docker save" printed, as files of a temporary folder.
// Names of the stream are keys, and never become paths.
type savedImage struct {
	dir    string
	cpus   int
	log    func(format string, a ...any)
	files  map[string]savedFile
	links  map[string]string    // names to the names that they stand for
	layers map[string]savedFile // of documents that turned out to be layers, by path
}

// savedFile is a file of the image: a document as it came, or a layer in gzip
// format.
type savedFile struct {
	path  string
	layer bool
	// Of a layer, in hex: SHA-256 of the gzip file, and of the tar in it.
	digest, diff string
}

// saveError says that "docker save" failed, as opposed to the reading of what
// it printed.
type saveError struct{ err error }

func (e *saveError) Error() string { return fmt.Sprintf("Unable to save image: %v", e.err) }

func (e *saveError) Unwrap() error { return e.err }

// saveImage streams an image out of the target into dir. Layers are compressed
// on the way.
func saveImage(ctx context.Context, env builders.Env, name, dir string) (*savedImage, error) {
	image := &savedImage{
		dir: dir, cpus: env.CPUs, log: env.Say,
		files: map[string]savedFile{}, links: map[string]string{}, layers: map[string]savedFile{},
	}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := env.Target.Run(run, backends.Command{
			Argv: []string{"docker", "save", name}, Env: builders.BuildEnvironment(), Stdout: in, Stderr: env.Log,
		})
		if err != nil {
			err = &saveError{err}
		}
		_ = in.CloseWithError(err) // nil is the end of the file
	}()
	err := image.read(bufio.NewReaderSize(out, layerBlock))
	stop(err)
	_ = out.CloseWithError(err)
	<-done
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var failed *saveError
	if err != nil && !errors.As(err, &failed) {
		err = fmt.Errorf("Tar file processing failed: %w", verdict.MarkHostFault(err)) // the text that people know
	}
	return image, err
}

// read reads the stream to its very end: only then it is known whether the
// command succeeded (weakness P9).
func (i *savedImage) read(stream io.Reader) error {
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err = io.Copy(io.Discard, stream)
			return err
		}
		if err != nil {
			return err
		}
		if len(i.files)+len(i.links) == maxMembers {
			return fmt.Errorf("the image has more than %d files", maxMembers)
		}
		if max(len(header.Name), len(header.Linkname)) > maxName {
			return fmt.Errorf("the image has a name of more than %d bytes", maxName)
		}
		i.log("Processing tar file: %s", header.Name)
		name := path.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			err = i.keep(name, header.Size, archive)
		case tar.TypeSymlink:
			i.log("Found symlink at %s referencing %s", header.Name, header.Linkname)
			i.links[name] = path.Join(path.Dir(name), header.Linkname) // a key of a map, never a path on the host
		case tar.TypeLink:
			i.links[name] = path.Clean(header.Linkname)
		}
		if err != nil {
			return err
		}
	}
}

// keep stores a member. What it is only its content tells: every program that
// writes such archives has names of its own, and the manifest comes last.
func (i *savedImage) keep(name string, size int64, content io.Reader) error {
	if base := path.Base(name); strings.Contains(name, "/") && (base == "VERSION" || base == "json") {
		return nil // about the layers of long ago
	}
	in := bufio.NewReaderSize(content, 64<<10)
	start, _ := in.Peek(tarMagicEnd) // an error comes again
	document := strings.HasSuffix(name, ".json") || looksLikeJSON(start)
	file, err := i.store(in, size > maxDocument || !document)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	i.files[name] = file
	return nil
}

// store writes content into a temporary file.
func (i *savedImage) store(in *bufio.Reader, layer bool) (file savedFile, err error) {
	f, err := os.CreateTemp(i.dir, "member-")
	if err != nil {
		return savedFile{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !layer {
		_, err := io.Copy(f, in)
		return savedFile{path: f.Name()}, err
	}
	sum, diff := sha256.New(), sha256.New()
	if err := compressLayer(io.MultiWriter(f, sum), diff, in, i.cpus); err != nil {
		return savedFile{}, err
	}
	return savedFile{path: f.Name(), layer: true, digest: hex.EncodeToString(sum.Sum(nil)), diff: hex.EncodeToString(diff.Sum(nil))}, nil
}

// Where the magic of a tar header is.
const (
	tarMagic    = 257
	tarMagicEnd = tarMagic + len("ustar")
)

// looksLikeJSON tells documents from layers by how they start: both are blobs.
func looksLikeJSON(start []byte) bool {
	if len(start) == tarMagicEnd && string(start[tarMagic:]) == "ustar" {
		return false
	}
	start = bytes.TrimLeft(start, " \t\r\n")
	return len(start) > 0 && (start[0] == '{' || start[0] == '[')
}

// compressLayer writes a layer in gzip format, and the tar that it is to diff.
// The same content always gives the same bytes (weakness P4), on any number of
// processors. A layer that comes in gzip format stays as it is: its digest may be
// known to a registry.
func compressLayer(out, diff io.Writer, in *bufio.Reader, cpus int) error {
	var layer io.Reader = in
	start, _ := in.Peek(4) // an error comes again
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		plain, err := gzip.NewReader(io.TeeReader(in, out))
		if err == nil {
			_, err = io.Copy(diff, plain) // reads in to its end, or fails
		}
		if err != nil {
			return fmt.Errorf("its gzip data cannot be read: %w", err)
		}
		return nil
	case bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		plain, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return err
		}
		defer plain.Close()
		layer = plain
	}
	compressor, err := pgzip.NewWriterLevel(out, layerLevel)
	if err != nil {
		return err
	}
	if err := compressor.SetConcurrency(layerBlock, 2*max(1, cpus)); err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(compressor, diff), layer)
	return errors.Join(err, compressor.Close())
}

// find returns a file and its own name, through links in any order (weakness
// P7).
func (i *savedImage) find(name string) (savedFile, string, error) {
	target := path.Clean(name)
	for range len(i.links) + 1 {
		if file, ok := i.files[target]; ok {
			if target != path.Clean(name) {
				i.log("Dereferencing symlink from %s to %s", name, target)
			}
			return file, target, nil
		}
		next, ok := i.links[target]
		if !ok {
			break
		}
		target = next
	}
	return savedFile{}, "", fmt.Errorf("%q is not in the image", name)
}

// document returns the content of a JSON file, and where it is.
func (i *savedImage) document(name string) (data []byte, path string, err error) {
	file, target, err := i.find(name)
	if err != nil {
		return nil, "", err
	}
	if file.layer {
		return nil, "", fmt.Errorf("%q is no JSON of at most %d bytes", name, maxDocument)
	}
	if data, err = os.ReadFile(file.path); err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(data)
	if want := digestIn(target); want != "" && want != hex.EncodeToString(sum[:]) {
		return nil, "", fmt.Errorf("%q has the SHA-256 %x", target, sum)
	}
	return data, file.path, nil
}

// digestIn is the SHA-256 by which a file of an archive is called, "" if it is not:
// blobs/sha256/HEX in an OCI image layout, HEX.json or sha256:HEX in others.
func digestIn(name string) string {
	name = strings.TrimPrefix(name, blobs)
	if name = strings.TrimSuffix(strings.TrimPrefix(name, "sha256:"), ".json"); isDigest(name) {
		return strings.ToLower(name)
	}
	return ""
}

// isDigest says whether text is a SHA-256 in hex.
func isDigest(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == hex.EncodedLen(sha256.Size)
}

// layer returns a layer, compressed, after a comparison with what the image's
// configuration says that it is. It may still be a document: one that a manifest
// calls a layer.
func (i *savedImage) layer(name, diffID string) (savedFile, error) {
	file, _, err := i.find(name)
	if err == nil && !file.layer {
		file, err = i.asLayer(file)
	}
	if err != nil {
		return savedFile{}, err
	}
	want, sha256 := strings.CutPrefix(diffID, "sha256:")
	switch {
	case !sha256 || !isDigest(want):
		i.log("Cannot verify layer %s: its diff id %q is no SHA-256.", name, diffID)
	case want != file.diff:
		return savedFile{}, fmt.Errorf("layer %q is not what the configuration says: its SHA-256 is %s, not %s", name, file.diff, want)
	}
	return file, nil
}

func (i *savedImage) asLayer(document savedFile) (savedFile, error) {
	if file, ok := i.layers[document.path]; ok {
		return file, nil
	}
	f, err := os.Open(document.path)
	if err != nil {
		return savedFile{}, err
	}
	defer func() { _ = f.Close() }()
	file, err := i.store(bufio.NewReader(f), true)
	i.layers[document.path] = file
	return file, err
}
