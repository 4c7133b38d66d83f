//go:build integration

package e2e

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"lpbuildd/buildd"
)

// result downloads a result of a build.
func (r *rig) result(st buildd.Status, name string) []byte {
	r.t().Helper()
	if st.FileMap[name] == "" {
		r.t().Fatalf("the results are %v, without %s", st.FileMap, name)
	}
	data, err := r.download(st.FileMap[name])
	must(r.t(), err)
	return data
}

// checkNames fails unless a build has exactly these results.
func (r *rig) checkNames(st buildd.Status, names ...string) {
	r.t().Helper()
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(st.FileMap)); !slices.Equal(got, names) {
		r.t().Errorf("the results are %q and not %q", got, names)
	}
}

// hides fails if anyone who may look at a build that waits finds a secret: in
// its log, its status, its results, or anywhere in the daemon's folder.
func (r *rig) hides(st buildd.Status, secrets ...string) {
	r.t().Helper()
	told, err := json.Marshal(st)
	must(r.t(), err)
	for _, secret := range secrets {
		r.findNowhere(secret)
		if bytes.Contains(told, []byte(secret)) {
			r.t().Errorf("the status has the secret %s", secret)
		}
		for name := range st.FileMap {
			if bytes.Contains(unpacked(r.t(), name, r.result(st, name)), []byte(secret)) {
				r.t().Errorf("the result %s has the secret %s", name, secret)
			}
		}
	}
}

// unpacked is all that an archive holds, one after the other.
func unpacked(t *testing.T, name string, data []byte) []byte {
	t.Helper()
	switch filepath.Ext(name) {
	case ".gz":
		plain, err := gzip.NewReader(bytes.NewReader(data))
		must(t, err)
		data, err = io.ReadAll(plain)
		must(t, err)
	case ".xz":
		unxz := exec.CommandContext(t.Context(), "xz", "-dc")
		unxz.Stdin = bytes.NewReader(data)
		out, err := unxz.Output()
		must(t, err)
		data = out
	case ".charm":
		var all []byte
		for _, text := range members(t, data) {
			all = append(all, text...)
		}
		data = all
	}
	return data
}

// members are the files of a zip archive.
func members(t *testing.T, data []byte) map[string]string {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	files := map[string]string{}
	for _, member := range archive.File {
		f, err := member.Open()
		must(t, err)
		text, err := io.ReadAll(f)
		must(t, err)
		files[member.Name] = string(text)
	}
	return files
}
