package incus

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"time"

	"lpbuildd/backends/archive"
	"lpbuildd/buildd/verdict"
)

const (
	// topFolder is the only folder at the top of a chroot tarball.
	topFolder = "chroot-autobuild"
	// rootFolder is its name in an image of LXD and Incus.
	rootFolder = "rootfs"
	// converterVersion is part of the names of kept images: it changes when
	// convert makes something else of the same tarball.
	converterVersion = "1"
)

// imageArch is what LXD and Incus call an architecture, by its Debian name
// (spec: backends.md section 4).
func imageArch(arch string) (string, error) {
	names := map[string]string{
		"amd64": "x86_64", "arm64": "aarch64", "armhf": "armv7l", "i386": "i686", "powerpc": "ppc",
		"ppc64el": "ppc64le", "riscv64": "riscv64", "s390x": "s390x",
		"amd64v2": "x86_64", "amd64v3": "x86_64", "amd64v4": "x86_64", "loong64": "loongarch64",
	}
	if name, ok := names[arch]; ok {
		return name, nil
	}
	return "", fmt.Errorf("cannot make a container image for the unknown architecture %q", arch)
}

// metadata is the metadata.yaml of an image (spec: backends.md section 5). JSON
// is YAML too.
func metadata(series, arch string, created time.Time) ([]byte, error) {
	machine, err := imageArch(arch)
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	err = enc.Encode(map[string]any{
		"architecture": machine,
		// To the engines, 0 is no date.
		"creation_date": max(created.Unix(), 1),
		"properties": map[string]string{
			"architecture": arch,
			"description":  fmt.Sprintf("Launchpad chroot for Ubuntu %s (%s)", series, arch),
			"os":           "Ubuntu",
			"series":       series,
		},
	})
	return []byte(text.String()), err
}

// convertFile writes a chroot tarball, of any compression, as an image. Errors
// of w come as an *archive.WriteError, all others blame the tarball or the
// disk.
func convertFile(ctx context.Context, w io.Writer, path, series, arch string) error {
	if _, err := imageArch(arch); err != nil {
		return err
	}
	created, err := creationDate(ctx, path)
	if err != nil {
		return err
	}
	head, err := metadata(series, arch, created)
	if err != nil {
		return err
	}
	return readTar(ctx, path, func(plain io.Reader) error {
		return convert(ctx, w, plain, head)
	})
}

// creationDate is the time of the top folder. It is the first member of any
// sane tarball, so this reads next to nothing.
func creationDate(ctx context.Context, path string) (created time.Time, err error) {
	err = readTar(ctx, path, func(plain io.Reader) error {
		r := tar.NewReader(plain)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("it has no folder %s", topFolder)
			}
			if err != nil {
				return err
			}
			if strings.Trim(strings.TrimPrefix(h.Name, "./"), "/") == topFolder {
				created = h.ModTime
				return nil
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
		}
	})
	return created, err
}

// readTar hands over a tarball of any compression, decompressed.
func readTar(ctx context.Context, path string, f func(plain io.Reader) error) error {
	file, err := os.Open(path)
	if err != nil {
		return verdict.MarkHostFault(fmt.Errorf("cannot read the image: %w", err))
	}
	defer func() { _ = file.Close() }()
	plain, _, err := archive.NewReader(ctx, file)
	if err != nil {
		return fmt.Errorf("cannot use the image %s: %w", path, err)
	}
	defer func() { _ = plain.Close() }()
	err = f(plain)
	var write *archive.WriteError
	if err != nil && !errors.As(err, &write) && ctx.Err() == nil {
		return fmt.Errorf("cannot use the image %s: %w", path, err)
	}
	return err
}

// convert writes head as metadata.yaml and then the members of a tarball with
// the root folder renamed. Memory is constant. It reads beyond the end of the
// tarball: only the end of the compressed data tells that all of it was right.
func convert(ctx context.Context, w io.Writer, plain io.Reader, head []byte) error {
	r := tar.NewReader(plain)
	buffered := bufio.NewWriterSize(w, 1<<20)
	out := tar.NewWriter(buffered)
	err := out.WriteHeader(&tar.Header{Name: "metadata.yaml", Mode: 0o644, Size: int64(len(head)), Typeflag: tar.TypeReg})
	if err == nil {
		_, err = out.Write(head)
	}
	if err != nil {
		return &archive.WriteError{Err: err}
	}
	buf := make([]byte, 256<<10)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := copyMember(out, r, h, buf); err != nil {
			return err
		}
	}
	if _, err := io.Copy(io.Discard, struct{ io.Reader }{plain}); err != nil {
		return err
	}
	if err := errors.Join(out.Close(), buffered.Flush()); err != nil {
		return &archive.WriteError{Err: err}
	}
	return nil
}

// copyMember writes one member under its new name.
func copyMember(out *tar.Writer, r io.Reader, h *tar.Header, buf []byte) error {
	// Global headers are comments of programs that made the tarball.
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if err := out.WriteHeader(rewrite(h)); err != nil {
		return fmt.Errorf("cannot convert %q: %w", h.Name, &archive.WriteError{Err: err})
	}
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse && h.Typeflag != tar.TypeCont {
		return nil
	}
	dst := &marked{w: out}
	_, err := io.CopyBuffer(dst, struct{ io.Reader }{r}, buf)
	if dst.err != nil {
		return &archive.WriteError{Err: dst.err}
	}
	return err
}

// marked remembers that it was the destination that failed.
type marked struct {
	w   io.Writer
	err error
}

func (m *marked) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	if err != nil {
		m.err = err
	}
	return n, err
}

// rewrite is the header of a member in an image: all as it was, but for the
// name of the root folder, also in hard links.
func rewrite(old *tar.Header) *tar.Header {
	h := *old
	h.Name = rename(h.Name)
	if h.Typeflag == tar.TypeLink {
		h.Linkname = rename(h.Linkname)
	}
	// The reader fills the holes of sparse files.
	if h.Typeflag == tar.TypeGNUSparse {
		h.Typeflag = tar.TypeReg
	}
	// Without PAX the writer rounds times to seconds, which other formats do
	// anyway; with it, names and times of all kinds fit.
	if h.Format != tar.FormatPAX {
		h.Format = tar.FormatUnknown
	}
	// The writer makes these records anew from the header.
	h.PAXRecords = maps.Clone(h.PAXRecords)
	maps.DeleteFunc(h.PAXRecords, func(name, _ string) bool {
		return name == "path" || name == "linkpath" || name == "size" || strings.HasPrefix(name, "GNU.sparse.")
	})
	return &h
}

// rename replaces everything up to and including the first name of the top
// folder.
func rename(name string) string {
	if _, rest, ok := strings.Cut(name, topFolder); ok {
		return rootFolder + rest
	}
	return name
}
