package container

import (
	"os"
	"path/filepath"
	"testing"

	"lpbuildd/backends"
)

// TestGitProxy runs the program that git gets, with a stand-in for socat.
func TestGitProxy(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"lpbuildd-git-proxy": gitProxy, "socat": "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for proxy, want := range map[string]string{
		"http://10.10.10.1:8222/":           "PROXY:10.10.10.1:git.test:9418,proxyport=8222",
		"http://proxy.test":                 "PROXY:proxy.test:git.test:9418",
		"http://user:p@ss@proxy.test:3128/": "PROXY:proxy.test:git.test:9418,proxyport=3128,proxyauth=user:p@ss",
		"http://[fd00::1]:8222/":            "PROXY:[fd00::1]:git.test:9418,proxyport=8222",
		"http://[fd00::1]/":                 "PROXY:[fd00::1]:git.test:9418",
		"proxy.test:3128":                   "PROXY:proxy.test:git.test:9418,proxyport=3128",
	} {
		out, err := backends.Output(t.Context(), backends.Host{}, backends.Command{
			Argv: []string{filepath.Join(dir, "lpbuildd-git-proxy"), "git.test", "9418"},
			Env:  []string{"PATH=" + dir + ":/usr/bin:/bin", "http_proxy=" + proxy}, Stderr: t.Output(),
		})
		if got := string(out); err != nil || got != "STDIO\n"+want+"\n" {
			t.Errorf("%s: got %q, %v; want %q", proxy, got, err, want)
		}
	}
}
