package builders

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

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"lpbuildd/backends"
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
	dir   string
	cpus  int
	log   func(format string, a ...any)
	files map[string]savedFile
	links map[string]string // names to the names that they stand for
}

// savedFile is a file of the image: a document as it came, or a layer in gzip
// format.
type savedFile struct {
	path   string
	layer  bool
	digest string // of a layer: SHA-256 of the gzip file, in hex
}

// saveError says that "docker save" failed, as opposed to the reading of what
// it printed.
type saveError struct{ err error }

func (e *saveError) Error() string { return fmt.Sprintf("Unable to save image: %v", e.err) }

func (e *saveError) Unwrap() error { return e.err }

// saveImage streams an image out of the target into dir. Layers are compressed
// on the way.
func saveImage(ctx context.Context, env Env, name, dir string) (*savedImage, error) {
	image := &savedImage{dir: dir, cpus: env.CPUs, log: env.say, files: map[string]savedFile{}, links: map[string]string{}}
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out, in := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := env.Target.Run(run, backends.Command{
			Argv: []string{"docker", "save", name}, Env: buildEnvironment(), Stdout: in, Stderr: env.Log,
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
		err = fmt.Errorf("Tar file processing failed: %w", backends.MarkHostFault(err)) //nolint:staticcheck // the text that people know
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
			i.links[name] = path.Join(path.Dir(name), header.Linkname) //nolint:gosec // a key of a map, never a path on the host
		case tar.TypeLink:
			i.links[name] = path.Clean(header.Linkname)
		}
		if err != nil {
			return err
		}
	}
}

// keep stores a member if it is a layer or a document of the image itself.
func (i *savedImage) keep(name string, size int64, content io.Reader) error {
	blob := strings.HasPrefix(name, blobs)
	layer := path.Base(name) == "layer.tar" && strings.Contains(name, "/")
	if !blob && !layer && strings.Contains(name, "/") {
		return nil // VERSION, json: about the layers of long ago
	}
	in := bufio.NewReaderSize(content, 64<<10)
	if blob {
		start, _ := in.Peek(tarMagicEnd) // an error comes again
		layer = size > maxDocument || !looksLikeJSON(start)
	}
	file, err := i.store(in, layer)
	if err != nil {
		return err
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
		if _, err := io.Copy(f, io.LimitReader(in, maxDocument+1)); err != nil {
			return savedFile{}, err
		}
		return savedFile{path: f.Name()}, nil
	}
	sum := sha256.New()
	if err := compressLayer(io.MultiWriter(f, sum), in, i.cpus); err != nil {
		return savedFile{}, err
	}
	return savedFile{path: f.Name(), layer: true, digest: hex.EncodeToString(sum.Sum(nil))}, nil
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

// compressLayer writes a layer in gzip format. The same content always gives
// the same bytes (weakness P4), on any number of processors. A layer that comes
// in gzip format stays as it is: its digest may be known to a registry.
func compressLayer(out io.Writer, in *bufio.Reader, cpus int) error {
	var layer io.Reader = in
	start, _ := in.Peek(4) // an error comes again
	switch {
	case bytes.HasPrefix(start, []byte{0x1f, 0x8b}):
		_, err := io.Copy(out, in)
		return err
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
	_, err = io.Copy(compressor, layer)
	return errors.Join(err, compressor.Close())
}

// find returns a file by its name, through links in any order (weakness P7).
func (i *savedImage) find(name string) (savedFile, error) {
	target := path.Clean(name)
	for range len(i.links) + 1 {
		if file, ok := i.files[target]; ok {
			if target != path.Clean(name) {
				i.log("Dereferencing symlink from %s to %s", name, target)
			}
			return file, nil
		}
		next, ok := i.links[target]
		if !ok {
			break
		}
		target = next
	}
	return savedFile{}, fmt.Errorf("%q is not in the image", name)
}

// document returns the content of a JSON file, and where it is.
func (i *savedImage) document(name string) (data []byte, path string, err error) {
	file, err := i.find(name)
	if err != nil {
		return nil, "", err
	}
	if file.layer {
		return nil, "", fmt.Errorf("%q is no JSON", name)
	}
	f, err := os.Open(file.path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = f.Close() }()
	data, err = io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%q is larger than %d bytes", name, maxDocument)
	}
	return data, file.path, err
}

// layer returns a layer, compressed. It may still be a document: one that a
// manifest calls a layer.
func (i *savedImage) layer(name string) (savedFile, error) {
	file, err := i.find(name)
	if err != nil || file.layer {
		return file, err
	}
	f, err := os.Open(file.path)
	if err != nil {
		return savedFile{}, err
	}
	defer func() { _ = f.Close() }()
	return i.store(bufio.NewReader(f), true)
}
