package proxy_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lpbuildd/buildd/proxy"
)

// private is an archive that shows what it was asked, with what credentials.
func private(w http.ResponseWriter, r *http.Request) {
	u, p, ok := r.BasicAuth()
	fmt.Fprintf(w, "%s %s %q %q %v", r.Method, r.RequestURI, u, p, ok)
}

func startArchives(t testing.TB, lines []string, change func(*proxy.ArchivesConfig)) (a *proxy.Archives, log *buildLog) {
	t.Helper()
	log = &buildLog{}
	clean, creds := proxy.Split(lines)
	c := proxy.ArchivesConfig{
		Credentials: creds, Sources: clean, Listen: anyPort, Allow: []netip.Prefix{loopback}, Log: log,
	}
	if change != nil {
		change(&c)
	}
	a, err := proxy.StartArchives(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeProxy(t, a) })
	return a, log
}

func TestArchivesAddTheCredentialOfTheLongestPath(t *testing.T) {
	host := strings.TrimPrefix(serve(t, private), "http://")
	a, log := startArchives(t, []string{
		"deb http://outer:o@" + host + "/team s", "deb http://inner:i%2F%C3%A9@" + host + "/team/ppa/ s", "deb http://t0ken@" + host + "/only s",
	}, nil)
	for path, want := range map[string]string{
		"/team/dists/s/InRelease":   `"outer" "o" true`,
		"/team":                     `"outer" "o" true`,
		"/team/ppa/dists/InRelease": `"inner" "i/é" true`,
		"/team/p%70a/x%2By?a=1;b":   `"inner" "i/é" true`,
		"/team/ppa2/x":              `"outer" "o" true`,
		"/only/x":                   `"t0ken" "" true`,
		"/public/x":                 `"" "" false`,
		"/teams/x":                  `"" "" false`,
		"//team/x":                  `"outer" "o" true`,
		"/team/../public/x":         `"" "" false`,
		"/team/%2e%2e/public/x":     `"" "" false`,
		"/team/..%2fpublic":         `"" "" false`,
	} {
		c := dial(t, a.Addr())
		c.send(t, "GET http://"+host+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		if got := body(t, c.response(t, "GET")); got != "GET "+path+" "+want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
	if log.String() != "" {
		t.Errorf("log %q", log)
	}
}

func TestArchivesServeOnlyPrivateHosts(t *testing.T) {
	host := strings.TrimPrefix(serve(t, private), "http://")
	public := strings.TrimPrefix(serve(t, private), "http://")
	other := strings.TrimPrefix(serve(t, private), "http://")
	elsewhere := strings.Replace(public, "127.0.0.1", "localhost", 1)
	a, log := startArchives(t, []string{
		"deb http://u:p@" + host + "/x s", "deb [trusted=yes] http://" + public + "/y s", "deb http://" + elsewhere + "/y s",
	}, nil)
	for request, want := range map[string]int{
		"GET http://" + elsewhere + "/y": 403,
		"GET http://" + host + "/x":      200, "GET http://" + public + "/x": 200, "GET http://" + other + "/x": 403,
		"CONNECT " + host: 403, "GET https://" + host + "/x": 403, "GET /x": 400,
	} {
		c := dial(t, a.Addr())
		c.send(t, request+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp := c.response(t, "GET"); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", request, resp.StatusCode, want)
		}
	}
	for _, refused := range []string{other, elsewhere} {
		if want := "Archive proxy: refused a request for " + refused + ", which is not one of the build's private archives\n"; !strings.Contains(log.String(), want) {
			t.Errorf("log %q, want %q", log, want)
		}
	}
}

// TestArchivesAreOnlyRead: who runs in the target must not change an archive by
// the credentials, nor be shown them as the answer to TRACE.
func TestArchivesAreOnlyRead(t *testing.T) {
	host := strings.TrimPrefix(serve(t, private), "http://")
	a, _ := startArchives(t, []string{"deb http://u:p@" + host + "/x s"}, nil)
	for method, want := range map[string]int{
		"GET": 200, "HEAD": 200, "TRACE": 405, "PUT": 405, "POST": 405, "DELETE": 405, "PROPFIND": 405,
	} {
		c := dial(t, a.Addr())
		c.send(t, method+" http://"+host+"/x HTTP/1.1\r\nHost: "+host+"\r\nContent-Length: 0\r\n\r\n")
		resp := c.response(t, method)
		if resp.StatusCode != want || want == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d, %v", method, resp.StatusCode, resp.Header)
		}
	}
}

func TestRefusedArchiveCredentialsAreOneLine(t *testing.T) {
	archive := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="ppa"`)
		http.Error(w, "no", http.StatusUnauthorized)
	})
	host := strings.TrimPrefix(archive, "http://")
	a, log := startArchives(t, []string{"deb http://u:s3cr3t@" + host + "/x s"}, nil)
	for _, path := range []string{"/x/InRelease", "/x/Release", "/public"} {
		if got := status(t, via(t, a.Addr()), archive+path); got != 401 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if want := "Archive proxy: the archive at " + host + " refused the credentials of this build (401)\n"; log.String() != want {
		t.Errorf("log %q, want %q", log, want)
	}
}

func TestArchivesGoThroughTheProxyForApt(t *testing.T) {
	up := parent(t, "", private)
	a, _ := startArchives(t, []string{"deb http://u:p@ppa.test/x s"}, func(c *proxy.ArchivesConfig) { c.Upstream = withUser(t, up) })
	c := dial(t, a.Addr())
	c.send(t, "GET http://ppa.test/x/InRelease HTTP/1.1\r\nHost: ppa.test\r\n\r\n")
	if got, want := body(t, c.response(t, "GET")), `GET http://ppa.test/x/InRelease "u" "p" true`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	want := fmt.Sprintf("Acquire::http::Proxy::ppa.test \"http://%s/\";\nAcquire::https::Proxy::ppa.test \"%s\";\n", a.Addr(), withUser(t, up))
	if got := a.AptConf(); got != want {
		t.Errorf("configuration %q, want %q", got, want)
	}
}

func TestArchiveThatCannotBeReachedIs502(t *testing.T) {
	for name, upstream := range map[string]string{"directly": "", "through a proxy": "http://127.0.0.1:1"} {
		a, log := startArchives(t, []string{"deb http://u:s3cr3t@127.0.0.1:1/x s"}, func(c *proxy.ArchivesConfig) {
			if upstream != "" {
				c.Upstream = withUser(t, upstream)
			}
		})
		if got := status(t, via(t, a.Addr()), "http://127.0.0.1:1/x"); got != 502 {
			t.Errorf("%s: %d", name, got)
		}
		if !strings.HasPrefix(log.String(), "Archive proxy: cannot ask 127.0.0.1:1: ") {
			t.Errorf("%s: log %q", name, log)
		}
		noSecrets(t, log.String())
	}
}

func TestStartArchivesSaysWhatIsWrong(t *testing.T) {
	_, err := proxy.StartArchives(t.Context(), proxy.ArchivesConfig{Listen: anyPort})
	if err == nil || err.Error() != "cannot start the proxy for archives: nobody is allowed to use it" {
		t.Error(err)
	}
	_, err = proxy.StartArchives(t.Context(), proxy.ArchivesConfig{Upstream: withUser(t, "ftp://x"), Listen: anyPort})
	if err == nil || !strings.Contains(err.Error(), `the scheme "ftp"`) {
		t.Error(err)
	}
}

// apt fetches address with the given configuration, and nothing of this machine's.
func apt(t *testing.T, address, conf, auth string) string {
	t.Helper()
	const helper = "/usr/lib/apt/apt-helper"
	if _, err := os.Stat(helper); err != nil {
		t.Skip("needs apt:", err)
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"apt.conf": conf, "auth.conf": auth} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "out")
	cmd := exec.CommandContext(t.Context(), helper, "-oAPT::Sandbox::User=", "-oDir::Etc::netrc="+filepath.Join(dir, "auth.conf"),
		"-oDir::Etc::netrcparts=/nonexistent", "download-file", address, out)
	cmd.Env = append(os.Environ(), "APT_CONFIG="+filepath.Join(dir, "apt.conf"), "http_proxy=")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAptAuthenticates(t *testing.T) {
	host := strings.TrimPrefix(serve(t, private), "http://")
	for _, path := range []string{"/x", "/~team/a+b", "/x%2by/z"} {
		lines := []string{"deb http://u%40:p%40%2F%23%25:ss@" + host + path + " s"}
		const want = `"u@" "p@/#%:ss" true`
		t.Run("through the proxy "+path, func(t *testing.T) {
			a, log := startArchives(t, lines, nil)
			if got := apt(t, "http://"+host+path+"/InRelease", a.AptConf(), ""); !strings.HasSuffix(got, want) {
				t.Errorf("got %s; log %q", got, log)
			}
		})
		t.Run("with its own file "+path, func(t *testing.T) {
			_, creds := proxy.Split(lines)
			auth, err := proxy.AuthConf(creds)
			if err != nil {
				t.Fatal(err)
			}
			if got := apt(t, "http://"+host+path+"/InRelease", "", auth); !strings.HasSuffix(got, want) {
				t.Errorf("got %s with %s", got, auth)
			}
		})
	}
}
