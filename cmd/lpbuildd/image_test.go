package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/job"
	"lpbuildd/buildd/operator"
)

// tarball is a tar file with one folder, and its SHA-1.
func tarball(t *testing.T, top string) (data []byte, sum string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: top + "/", Mode: 0o755, Typeflag: tar.TypeDir}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	digest := sha1.Sum(b.Bytes())
	return b.Bytes(), hex.EncodeToString(digest[:])
}

func TestImageAdd(t *testing.T) {
	o := newOperated(t)
	image, sum := tarball(t, "chroot-autobuild")
	source, sourceSum := tarball(t, "hello-1.0")
	files := t.TempDir()
	o.write(filepath.Join(files, "base.tar"), string(image))
	o.write(filepath.Join(files, "source.tar"), string(source))
	server := httptest.NewServer(http.FileServer(http.Dir(files)))
	defer server.Close()

	o.says(sum+"\n", "image", "add", filepath.Join(files, "base.tar"))
	o.says(sum+"\n", "image", "add", server.URL+"/base.tar")
	for _, place := range []string{filepath.Join(files, "source.tar"), server.URL + "/source.tar"} {
		o.fails("it is no base image: want a tarball", "image", "add", place)
	}
	o.fails("no such file", "image", "add", filepath.Join(files, "none"))
	o.fails("HTTP Error 404: Not Found", "image", "add", server.URL+"/none")
	if _, err := os.Lstat(filepath.Join(o.cache, sourceSum)); err == nil {
		t.Error("what is no image was kept")
	}
	// It is not taken away from whoever had it before.
	o.write(filepath.Join(o.cache, sourceSum), string(source))
	o.fails("it is no base image", "image", "add", server.URL+"/source.tar")
	if _, err := os.Lstat(filepath.Join(o.cache, sourceSum)); err != nil {
		t.Error(err)
	}
}

func TestImageList(t *testing.T) {
	o := newOperated(t)
	o.says("There are no base images. 'lpbuildd image add FILE' adds one.\n", "image", "list")
	image, sum := tarball(t, "chroot-autobuild")
	source, sourceSum := tarball(t, "hello-1.0")
	o.cached(sum, string(image))
	o.cached(sourceSum, string(source))
	o.at(map[string]any{"state": "WAITING", "build_id": "B-1", "outcome": job.Outcome{BuildID: "B-1", Status: "OK"}, "inputs": []string{sum, sourceSum}})
	o.says("SHA-1                                     TYPE    SIZE     LAST USE          UNPACKED  IMPORTED  BUILD\n"+
		sum+"  chroot  1.5 KiB  2026-01-02 03:04  -         -         in use\n", "image", "list")
	out, err := o.run("image", "list", "--json")
	var got struct {
		Images   []operator.Image
		Problems []string
	}
	if json.Unmarshal([]byte(out), &got) != nil || err != nil || len(got.Images) != 1 || got.Images[0].SHA1 != sum || !got.Images[0].InUse || got.Problems == nil {
		t.Errorf("printed %s, %v", out, err)
	}
}

func TestImagesAreATable(t *testing.T) {
	images := []operator.Image{{SHA1: "aa", Cached: true, Unpacked: 5, Imported: []string{"LXD"}, InUse: true}, {SHA1: "bb", Imported: []string{"Incus"}}}
	var out bytes.Buffer
	if err := printImages(&out, images); err != nil {
		t.Fatal(err)
	}
	const want = "SHA-1  TYPE  SIZE  LAST USE  UNPACKED  IMPORTED  BUILD\n" +
		"aa     -     0 B   -         5 B       LXD       in use\n" +
		"bb     -     -     -         -         Incus     -\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestImageVerifyAndRemove(t *testing.T) {
	o := newOperated(t)
	image, sum := tarball(t, "chroot-autobuild")
	const damaged = "00000000000000000000000000000000000000aa"
	o.cached(sum, string(image))
	o.says("sound    "+sum+"\n1 file(s) are sound\n", "image", "verify")
	o.cached(damaged, "not what the name says")
	out, err := o.run("image", "verify")
	if err == nil || err.Error() != "1 of 2 file(s) are damaged or cannot be read" ||
		!strings.Contains(out, "damaged  "+damaged+": its content has the SHA-1 ") || !strings.Contains(out, "'lpbuildd image rm "+damaged+"' removes it; the next ensurepresent() fetches it again") {
		t.Errorf("printed %s, %v", out, err)
	}
	o.at(map[string]any{"state": "BUILDING", "build_id": "B-1", "inputs": []string{damaged, sum}})
	if out, err := o.run("image", "verify", "--remove", damaged); err == nil || !strings.Contains(out, `the build "B-1" (BUILDING) uses it`) {
		t.Errorf("printed %s, %v", out, err)
	}
	o.fails(`the build "B-1" (BUILDING) uses it`, "image", "rm", sum)
	o.at(map[string]any{"state": "IDLE"})
	if out, err := o.run("image", "verify", "--remove", damaged); err == nil || !strings.Contains(out, "removed; the next") {
		t.Errorf("printed %s, %v", out, err)
	}
	o.fails("1 of 1 file(s) are damaged or cannot be read", "image", "verify", damaged)
	o.fails("is no SHA-1", "image", "verify", "../x")
	o.fails("is no SHA-1", "image", "rm", "buildlog")
	o.fails("there is no base image", "image", "rm", damaged)
	if out, err := o.run("image", "rm", sum); err != nil || !strings.HasPrefix(out, "removed  cached file  "+sum) {
		t.Errorf("printed %s, %v", out, err)
	}
	for _, gone := range []string{sum, damaged} {
		if _, err := os.Lstat(filepath.Join(o.cache, gone)); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
}
