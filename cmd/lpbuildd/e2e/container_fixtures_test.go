//go:build integration

package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fixtures are what builds in containers get their sources and packages from,
// and the proxy and token service of a farm.
type fixtures struct {
	t     *testing.T
	dir   string
	url   string // of fixture-server, as this machine and its containers reach it
	proxy string // of fixture-squid, without credentials: host:port
	image string // the file of the base image
	lines []any  // the archives argument
}

// token is one that a farm made for a build.
type token struct{ user, password, proxyURL, endpoint string }

func newFixtures(t *testing.T) *fixtures {
	t.Helper()
	needPrograms(t, "squid", "openssl", "dpkg-scanpackages", "apt-ftparchive", "unsquashfs")
	image := containerImage(t)
	f := newWeb(t)
	f.image = image
	f.proxy = "127.0.0.1:" + f.serve("fixture-squid", filepath.Join(f.dir, "squid"), fmt.Sprint(freePort(t)), "nobody", "nothing")
	f.run("fixture-apt-archive", filepath.Join(f.dir, "www/apt"))
	must(t, os.WriteFile(filepath.Join(f.dir, "www/fetched"), []byte("fetched by a build\n"), 0o644))
	must(t, os.Mkdir(filepath.Join(f.dir, "www/images"), 0o755))
	f.lines = append(f.lines, "deb [trusted=yes] "+f.url+"/apt ./")
	return f
}

// newWeb serves the fixture repositories that are named, or all of them.
func newWeb(t *testing.T, repositories ...string) *fixtures {
	t.Helper()
	needPrograms(t, "git", "python3")
	dir, err := os.MkdirTemp("/var/tmp", "lpbuildd-fixtures-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755)) // squid gives up root
	f := &fixtures{t: t, dir: dir}
	port := f.serve("fixture-server", filepath.Join(dir, "www"), "--private", "admin:admin", "--passwd", filepath.Join(dir, "squid/passwd"))
	f.url = fmt.Sprintf("http://%s:%s", ownAddress(t), port)
	f.run("fixture-repositories", append([]string{filepath.Join(dir, "www"), f.url + "/fetched"}, repositories...)...)
	mirror, _ := exec.CommandContext(t.Context(), inTree(".ci/mirror"), "bookworm").Output()
	uri, components, found := strings.Cut(strings.TrimSpace(string(mirror)), " ")
	if !found {
		t.Skip("needs an archive of bookworm, which .ci/mirror does not find")
	}
	f.lines = []any{"deb " + uri + " bookworm " + components}
	return f
}

// containerImage is the base image of builds in containers.
func containerImage(t *testing.T) string {
	t.Helper()
	path := os.Getenv("LPBUILDD_TEST_CONTAINER_IMAGE")
	if path == "" {
		out, err := exec.CommandContext(t.Context(), inTree(".ci/container-image"), "--path").Output()
		must(t, err)
		path = strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs a base image, which .ci/container-image makes: %v", err)
	}
	return path
}

// ownAddress is an address of this machine that containers reach it at.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	t.Skip("needs an IPv4 address that is not loopback")
	return ""
}

// fixture is the path of a program; the working directory is this package's.
func fixture(name string) string { return inTree(".ci/fixtures", name) }

func (f *fixtures) run(name string, args ...string) {
	f.t.Helper()
	if out, err := exec.CommandContext(f.t.Context(), fixture(name), args...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// serve starts a fixture that serves a folder, and returns its port.
func (f *fixtures) serve(name, dir string, args ...string) string {
	f.t.Helper()
	must(f.t, os.MkdirAll(dir, 0o755))
	cmd := exec.CommandContext(context.WithoutCancel(f.t.Context()), fixture(name), append([]string{dir}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(f.t, err)
	must(f.t, cmd.Start())
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	port, found := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !found {
		f.t.Fatalf("%s says %q: %v", name, line, err)
	}
	return port
}

// token makes one that the proxy accepts.
func (f *fixtures) token(t *testing.T, user string) token {
	t.Helper()
	password := "s3cr3t-" + user
	hash := exec.CommandContext(t.Context(), "openssl", "passwd", "-apr1", "-stdin")
	hash.Stdin = strings.NewReader(password + "\n")
	out, err := hash.Output()
	must(t, err)
	file, err := os.OpenFile(filepath.Join(f.dir, "squid/passwd"), os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = fmt.Fprintf(file, "%s:%s", user, out)
	must(t, err)
	must(t, file.Close())
	tk := token{
		user: user, password: password, proxyURL: fmt.Sprintf("http://%s:%s@%s", user, password, f.proxy),
		endpoint: f.url + "/tokens/" + user,
	}
	deadline := time.Now().Add(patience)
	for f.ask(t, tk) != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the proxy does not accept a new token")
		}
		f.reread(t)
	}
	return tk
}

// reread makes the proxy look at its users again, after a pause: it does not see
// two changes within one second.
func (f *fixtures) reread(t *testing.T) {
	t.Helper()
	<-time.After(10 * pollPause)
	now := time.Now()
	must(t, os.Chtimes(filepath.Join(f.dir, "squid/passwd"), now, now))
}

// args are a build's arguments with a token.
func (tk token) args() map[string]any {
	return map[string]any{"proxy_url": tk.proxyURL, "revocation_endpoint": tk.endpoint}
}

// ask is the status of a request through the proxy.
func (f *fixtures) ask(t *testing.T, tk token) int {
	t.Helper()
	proxy, err := url.Parse(tk.proxyURL)
	must(t, err)
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/probe-by-test", http.NoBody)
	must(t, err)
	answer, err := transport.RoundTrip(req)
	must(t, err)
	_ = answer.Body.Close()
	if answer.StatusCode == http.StatusNotFound { // which the server behind it says
		return http.StatusOK
	}
	return answer.StatusCode
}

// checkRevoked fails unless a token was revoked once, with its own credentials,
// and is worth nothing any more.
func (f *fixtures) checkRevoked(t *testing.T, tk token) {
	t.Helper()
	data, _ := os.ReadFile(filepath.Join(f.dir, "www/revocations.jsonl"))
	times := 0
	for line := range strings.Lines(string(data)) {
		var r struct {
			Path    string            `json:"path"`
			Headers map[string]string `json:"headers"`
		}
		must(t, json.Unmarshal([]byte(line), &r))
		if r.Path != "/tokens/"+tk.user {
			continue
		}
		times++
		want := "Basic " + base64.StdEncoding.EncodeToString([]byte(tk.user+":"+tk.password))
		if got := r.Headers["Authorization"]; got != want {
			t.Errorf("the token of %s was revoked with %q and not %q", tk.user, got, want)
		}
	}
	if times != 1 {
		t.Errorf("the token of %s was revoked %d times", tk.user, times)
	}
	// The proxy remembers whom it knows for a second.
	for deadline := time.Now().Add(patience); f.ask(t, tk) != http.StatusProxyAuthRequired; f.reread(t) {
		if time.Now().After(deadline) {
			t.Fatalf("the proxy still accepts the token of %s", tk.user)
		}
	}
}

// checkUsed fails unless the proxy of the farm saw a request by a build.
func (f *fixtures) checkUsed(t *testing.T, tk token, what string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, "squid/access.log"))
	must(t, err)
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, what) && strings.Contains(line, " "+tk.user+" ") {
			return
		}
	}
	t.Errorf("the proxy's log knows nothing of %s by %s:\n%s", what, tk.user, data)
}
