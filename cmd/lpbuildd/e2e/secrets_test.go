//go:build integration

package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecrets looks for the credentials of a private build wherever they could
// have got: everywhere but in the chroot that needs them.
func TestSecrets(t *testing.T) {
	for _, user := range []string{"root", "buildd"} {
		t.Run(user, func(t *testing.T) {
			b := newBuilder(t, options{user: user})
			b.useStandIn()
			secret := fmt.Sprintf("s3cr3t-%d", os.Getpid())
			script := "echo here\necho http://reader:" + secret + "@archive.invalid/pool\necho the secret is\necho " + secret + "\nsleep 2\n" +
				deliver(t, map[string]string{"private.deb": "private"})
			w := b.cheap(b.cheapImage(1<<20), "exec sh ./more\n")
			// The script itself is no secret of the arguments, so it is kept out of the cache.
			b.write(b.home, map[string]string{".script": script})
			w.files["script"] = b.put([]byte("exec sh \"$HOME/.script\"\n"))
			w = w.with(map[string]any{
				"archive_private": true,
				"archives":        []any{"deb http://reader:" + secret + "@archive.invalid/ show main"},
			})
			b.build("private", w)
			b.reaches("stand-in for apt-get")
			b.findNowhere(secret)
			b.reaches("\nhere\n")
			b.findNowhere(secret)
			st := b.finish("OK")
			checkLog(t, b.log(), "http://archive.invalid/")
			b.findNowhere(secret)
			if len(st.FileMap) != 2 {
				t.Errorf("the results are %v", st.FileMap)
			}
			b.clean()
			b.findNowhere(secret)
		})
	}
}

// findNowhere looks for a secret in the arguments and the environment of every
// process, the log, and all files of the cache but those thrown away.
func (b *builder) findNowhere(secret string) {
	b.t.Helper()
	found := func(path string) {
		data, _ := os.ReadFile(path) // gone meanwhile, or not to be read
		if bytes.Contains(data, []byte(secret)) {
			b.t.Errorf("%s has the secret", path)
		}
	}
	for _, p := range b.processes() {
		found(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		found(fmt.Sprintf("/proc/%d/environ", p.pid))
	}
	found(filepath.Join(b.dir, "daemon.log"))
	if strings.Contains(b.log(), secret) || strings.Contains(string(b.status().LogTail), secret) {
		b.t.Errorf("the log has the secret:\n%s", b.log())
	}
	// What a build threw away holds its chroot, for root's eyes only.
	private := filepath.Join(b.cache, ".lpbuildd/trash")
	err := filepath.WalkDir(b.cache, func(path string, e fs.DirEntry, err error) error {
		switch {
		case path == private:
			return fs.SkipDir
		case err == nil && e.Type().IsRegular():
			found(path)
		}
		return nil
	})
	must(b.t, err)
}
