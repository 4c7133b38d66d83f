package backendtest

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lpbuildd/backends"
)

// Entry is one more file of a small image: a regular file, or with Link a
// symbolic link, or with Hard another name of an earlier file, or with Dir a
// folder.
type Entry struct {
	Name string
	Data string
	// Mode is 0755 when 0.
	Mode int64
	Link string
	Hard string
	Dir  bool
}

// tools of the machine that go into a small image.
func tools() []string {
	return strings.Fields("sh bash env test rm cat sleep ls mkdir touch cp mv chmod chown id true false head tail printf " +
		"echo setarch uname kill mount grep sed tee setsid dd stat readlink ln sort tr wc find cut seq")
}

func folders() []string {
	return strings.Fields("usr usr/bin usr/sbin usr/lib usr/lib64 proc sys dev dev/pts dev/shm etc root tmp var var/tmp build home")
}

// MiniImage writes a gzip-compressed base image with a shell, some tools of
// this machine and what they need, plus the extra entries, and returns its
// path. It skips the test where ldd is missing.
func MiniImage(tb testing.TB, extra ...Entry) string {
	tb.Helper()
	files := map[string]string{}
	for _, tool := range tools() {
		for _, dir := range []string{"/usr/bin/", "/bin/"} {
			if real, err := filepath.EvalSymlinks(dir + tool); err == nil {
				files["usr/bin/"+tool] = real
				addLibraries(tb, files, real)
				break
			}
		}
	}
	name := filepath.Join(tb.TempDir(), "image.tar")
	f, err := os.Create(name)
	check(tb, err)
	z, err := gzip.NewWriterLevel(f, gzip.BestSpeed)
	check(tb, err)
	w := imageWriter{tb, tar.NewWriter(z)}
	w.base(files)
	for _, e := range extra {
		w.add(e)
	}
	check(tb, w.tar.Close())
	check(tb, z.Close())
	check(tb, f.Close())
	return name
}

// addLibraries adds the shared libraries of a program, as ldd lists them.
func addLibraries(tb testing.TB, files map[string]string, program string) {
	tb.Helper()
	host := backends.Host{}
	if _, err := host.LookPath("ldd"); err != nil {
		tb.Skipf("needs ldd to gather a small image: %v", err)
	}
	out, _ := backends.Output(tb.Context(), host, backends.Command{Argv: []string{"ldd", program}})
	for _, m := range regexp.MustCompile(`(/\S+) \(0x`).FindAllSubmatch(out, -1) {
		lib := strings.TrimPrefix(string(m[1]), "/")
		if !strings.HasPrefix(lib, "usr/") {
			lib = "usr/" + lib
		}
		real, err := filepath.EvalSymlinks(string(m[1]))
		check(tb, err)
		files[lib] = real
	}
}

type imageWriter struct {
	tb  testing.TB
	tar *tar.Writer
}

// base writes folders, links, devices, and files from the host.
func (w imageWriter) base(files map[string]string) {
	dirs := folders()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var missing []string
		for dir := path.Dir(name); dir != "." && !slices.Contains(dirs, dir); dir = path.Dir(dir) {
			missing = append(missing, dir)
		}
		slices.Reverse(missing)
		dirs = append(dirs, missing...)
	}
	w.add(Entry{Dir: true})
	for _, dir := range dirs {
		mode := int64(0o755)
		if dir == "tmp" || dir == "var/tmp" {
			mode = 0o1777
		}
		w.add(Entry{Name: dir, Dir: true, Mode: mode})
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		w.add(Entry{Name: dir, Link: "usr/" + dir})
	}
	w.add(Entry{Name: "usr/bin/linux32", Link: "setarch"})
	w.add(Entry{Name: "usr/bin/linux64", Link: "setarch"})
	w.device("dev/null", 1, 3)
	w.device("dev/zero", 1, 5)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		data, err := os.ReadFile(files[name])
		check(w.tb, err)
		w.add(Entry{Name: name, Data: string(data)})
	}
	w.add(Entry{Name: "etc/passwd", Data: "root:x:0:0:root:/root:/bin/sh\n", Mode: 0o644})
	w.add(Entry{Name: "etc/group", Data: "root:x:0:\n", Mode: 0o644})
}

func (w imageWriter) add(e Entry) {
	h := &tar.Header{
		Name: path.Join("chroot-autobuild", e.Name), Mode: cmp.Or(e.Mode, 0o755),
		Size: int64(len(e.Data)), Typeflag: tar.TypeReg, Linkname: e.Link,
	}
	switch {
	case e.Dir:
		h.Typeflag = tar.TypeDir
	case e.Hard != "":
		h.Typeflag, h.Linkname = tar.TypeLink, path.Join("chroot-autobuild", e.Hard)
	case e.Link != "":
		h.Typeflag = tar.TypeSymlink
	}
	check(w.tb, w.tar.WriteHeader(h))
	_, err := w.tar.Write([]byte(e.Data))
	check(w.tb, err)
}

func (w imageWriter) device(name string, major, minor int64) {
	check(w.tb, w.tar.WriteHeader(&tar.Header{
		Name: "chroot-autobuild/" + name, Mode: 0o666, Typeflag: tar.TypeChar,
		Devmajor: major, Devminor: minor,
	}))
}
