package incus

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
)

func TestMetadata(t *testing.T) {
	got, err := metadata("nöble", "amd64", time.Unix(1700000000, 5e8))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
    "architecture": "x86_64",
    "creation_date": 1700000000,
    "properties": {
        "architecture": "amd64",
        "description": "Launchpad chroot for Ubuntu nöble (amd64)",
        "os": "Ubuntu",
        "series": "nöble"
    }
}
`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	for arch, want := range map[string]string{"armhf": "armv7l", "ppc64el": "ppc64le", "amd64v3": "x86_64", "loong64": "loongarch64"} {
		if got, err := imageArch(arch); got != want {
			t.Errorf("%s is %q to the engine: %v", arch, got, err)
		}
	}
	if _, err := metadata("noble", "sparc", time.Now()); err == nil {
		t.Error("an unknown architecture is no error")
	}
}

// member is a header with its content, as a reader of archives sees it.
type member struct {
	tar.Header
	data string
}

func members(t *testing.T, data []byte) []member {
	t.Helper()
	var list []member
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, member{*h, string(content)})
	}
}

// converted is a tarball as an image.
func converted(t *testing.T, data []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := convertFile(t.Context(), &out, path, "noble", "amd64"); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// normal leaves out what may differ: how holes, long names and times are stored.
func normal(m member, seconds bool) member {
	if m.Typeflag == tar.TypeGNUSparse {
		m.Typeflag = tar.TypeReg
	}
	if seconds {
		m.ModTime = m.ModTime.Round(time.Second)
	}
	records := map[string]string{}
	for name, value := range m.PAXRecords {
		if strings.HasPrefix(name, "SCHILY.xattr.") {
			records[name] = value
		}
	}
	m.PAXRecords, m.Xattrs = records, nil
	m.Format, m.AccessTime, m.ChangeTime = 0, time.Time{}, time.Time{}
	return m
}

func compare(t *testing.T, source, image []byte) {
	t.Helper()
	want, got := members(t, source), members(t, image)
	if len(got) == 0 || got[0].Name != "metadata.yaml" {
		t.Fatal("it does not begin with the metadata")
	}
	if len(got)-1 != len(want) {
		t.Fatalf("got %d members, want %d", len(got)-1, len(want))
	}
	for i, w := range want {
		w.Name = strings.Replace(w.Name, "chroot-autobuild", "rootfs", 1)
		if w.Typeflag == tar.TypeLink {
			w.Linkname = strings.Replace(w.Linkname, "chroot-autobuild", "rootfs", 1)
		}
		w, g := normal(w, w.Format != tar.FormatPAX), normal(got[i+1], false)
		if !w.ModTime.Equal(g.ModTime) {
			t.Errorf("%s: got time %v, want %v", w.Name, g.ModTime, w.ModTime)
		}
		w.ModTime = g.ModTime
		if !reflect.DeepEqual(g, w) {
			t.Errorf("got  %+v\nwant %+v", g.Header, w.Header)
		}
	}
}

// sample has a member of each kind.
func sample(t *testing.T, format tar.Format) []byte {
	t.Helper()
	when := time.Unix(1700000001, 0)
	if format == tar.FormatPAX {
		when = time.Unix(1700000001, 123456789)
	}
	list := []member{
		{tar.Header{Name: "chroot-autobuild/", Typeflag: tar.TypeDir, Mode: 0o755}, ""},
		{tar.Header{Name: "chroot-autobuild/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 7, Gid: 8, Uname: "me", Gname: "us"}, "su"},
		{tar.Header{Name: "chroot-autobuild/bin/hard", Typeflag: tar.TypeLink, Linkname: "chroot-autobuild/bin/su"}, ""},
		{tar.Header{Name: "chroot-autobuild/bin/soft", Typeflag: tar.TypeSymlink, Linkname: "/chroot-autobuild/x"}, ""},
		{tar.Header{Name: "chroot-autobuild/dev/null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}, ""},
		{tar.Header{Name: "chroot-autobuild/dev/loop0", Typeflag: tar.TypeBlock, Devmajor: 7, Mode: 0o660}, ""},
		{tar.Header{Name: "chroot-autobuild/run/fifo", Typeflag: tar.TypeFifo, Mode: 0o600}, ""},
		{tar.Header{Name: "chroot-autobuild/home/chroot-autobuild/f", Typeflag: tar.TypeReg, Mode: 0o644}, "twice"},
		{tar.Header{Name: "chroot-autobuild/" + strings.Repeat("long/", 60) + "ü", Typeflag: tar.TypeReg, Mode: 0}, "long"},
		{tar.Header{Name: "chroot-autobuild/big-id", Typeflag: tar.TypeReg, Uid: 1 << 24, Gid: 1 << 25}, ""},
	}
	if format == tar.FormatPAX {
		list = append(list, member{tar.Header{
			Name: "chroot-autobuild/bin/ping", Typeflag: tar.TypeReg, Mode: 0o755,
			PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20", "comment": "x"},
		}, "ping"})
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range list {
		h := m.Header
		h.Format, h.ModTime, h.Size, h.PAXRecords = format, when, int64(len(m.data)), maps.Clone(h.PAXRecords)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestConvertKeepsEverythingButTheNameOfTheRoot(t *testing.T) {
	for _, format := range []tar.Format{tar.FormatGNU, tar.FormatPAX} {
		t.Run(format.String(), func(t *testing.T) {
			data := sample(t, format)
			image := converted(t, data)
			compare(t, data, image)
			if got := members(t, image)[0].data; !strings.Contains(got, `"creation_date": 1700000001,`) {
				t.Errorf("metadata is %s", got)
			}
		})
	}
}

func TestConvertFillsTheHolesOfSparseFiles(t *testing.T) {
	host := backends.Host{}
	if _, err := host.LookPath("tar"); err != nil {
		t.Skipf("needs tar: %v", err)
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "chroot-autobuild", "sparse")
	if err := os.Mkdir(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 3<<20)
	copy(content[1<<20:], "in the middle")
	f, err := os.Create(name)
	if err == nil {
		_, err = f.WriteAt([]byte("in the middle"), 1<<20)
	}
	if err = errors.Join(err, f.Truncate(int64(len(content))), f.Close()); err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"gnu", "posix"} {
		data, err := backends.Output(t.Context(), host, backends.Command{
			Argv: []string{"tar", "--sparse", "--format=" + format, "-C", dir, "-c", "chroot-autobuild"},
		})
		if err != nil {
			t.Fatal(err)
		}
		image := converted(t, data)
		compare(t, data, image)
		last := members(t, image)
		if m := last[len(last)-1]; m.data != string(content) || m.Typeflag != tar.TypeReg {
			t.Errorf("%s: the content differs", format)
		}
	}
}

func TestConvertIsTheSameForEachCompression(t *testing.T) {
	plain := sample(t, tar.FormatPAX)
	if !bytes.Equal(converted(t, plain), converted(t, compressed(t, plain))) {
		t.Error("images differ")
	}
}

func TestConvertBearsPaddingAndSeveralMembers(t *testing.T) {
	plain := sample(t, tar.FormatPAX)
	want, middle, padding := converted(t, plain), len(plain)/2, make([]byte, 10240)
	for name, data := range map[string][]byte{
		"padding":                  slices.Concat(compressed(t, plain), padding),
		"two members":              slices.Concat(compressed(t, plain[:middle]), compressed(t, plain[middle:])),
		"two members with padding": slices.Concat(compressed(t, plain[:middle]), compressed(t, plain[middle:]), padding),
		"a tarball with padding":   slices.Concat(plain, padding),
	} {
		if !bytes.Equal(converted(t, data), want) {
			t.Errorf("%s: the image differs", name)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	dir := t.TempDir()
	whole := sample(t, tar.FormatGNU)
	zipped := compressed(t, whole)
	var other bytes.Buffer
	w := tar.NewWriter(&other)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "x/", Typeflag: tar.TypeDir}), w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what string
		data []byte
		want string
	}{
		{"no archive", []byte("this is not one"), "not an archive"},
		{"a cut archive", whole[:len(whole)/2], "unexpected EOF"},
		{"an archive of something else", other.Bytes(), "no folder chroot-autobuild"},
		{"an empty file", nil, "empty"},
		{"cut behind the end of the archive", zipped[:len(zipped)-4], "its gzip data is cut off"},
		{"a wrong checksum behind the end of the archive", slices.Concat(zipped[:len(zipped)-8], make([]byte, 8)), "its gzip data cannot be read"},
		{"garbage behind the data", slices.Concat(zipped, []byte("\x00garbage")), "its gzip data cannot be read: garbage follows its end"},
	} {
		path := filepath.Join(dir, tt.what)
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		err := convertFile(t.Context(), io.Discard, path, "noble", "amd64")
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v", tt.what, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	want := errors.New("enough")
	cancel(want)
	path := filepath.Join(dir, "whole")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := convertFile(ctx, io.Discard, path, "noble", "amd64"); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}
