//go:build integration

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestContainersFetchService builds a snap with a fetch service: the target
// trusts its certificate and uses it for everything, and its token is revoked
// in its own way. The build after it fails, which changes nothing about that.
func TestContainersFetchService(t *testing.T) {
	needRoot(t)
	needEngine(t, "incus", "incus")
	f := newFixtures(t)
	r := newNeighbour(t, f, "incus", "incus", "e2e-fetch", "10.211.67.0/24")
	cert, _ := identity(t, t.TempDir())
	pem, err := os.ReadFile(cert)
	must(t, err)
	for _, part := range []struct{ name, branch, outcome string }{{"that works", "main", "OK"}, {"that fails", "fail", "PACKAGEFAIL"}} {
		t.Run(part.name, func(t *testing.T) {
			r := r.within(t)
			tk := f.token(t, r.id(part.branch))
			args := tk.args()
			args["git_path"] = part.branch
			args["use_fetch_service"] = true
			args["secrets"] = map[string]any{"fetch_service_mitm_certificate": base64.StdEncoding.EncodeToString(pem)}
			r.job(part.branch, "snap", args)
			st := r.finish(part.outcome)
			if part.outcome == "OK" {
				r.checkSnap(st)
				r.checkPromises(st.FileMap["fixture-snap_1.2_"+hostArch(t)+".snap"])
			}
			checkLog(t, r.log(), "Updating certificates in /etc/ssl/certs", "Revoking proxy token...")
			r.rests()
			f.checkUsed(t, tk, "/git/snap.git")
			f.checkRevokedSession(t, tk)
		})
	}
}

// checkPromises looks for what builds with a fetch service are told.
func (r *rig) checkPromises(sum string) {
	t := r.t()
	t.Helper()
	data, err := r.download(sum)
	must(t, err)
	path := filepath.Join(t.TempDir(), "snap")
	must(t, os.WriteFile(path, data, 0o600))
	told, err := exec.CommandContext(t.Context(), "unsquashfs", "-cat", path, "meta/environment").Output()
	must(t, err)
	const ca = "/usr/local/share/ca-certificates/local-ca.crt"
	for _, want := range []string{"pull CARGO_HTTP_CAINFO=" + ca, "build REQUESTS_CA_BUNDLE=" + ca, "build GOPROXY=direct", "pull http_proxy=http://10.211.67.1:8222/"} {
		if !strings.Contains(string(told), want+"\n") {
			t.Errorf("the build was told\n%s\nbut not %s", told, want)
		}
	}
}

// checkRevokedSession fails unless the session of a fetch service was ended
// once, by its token.
func (f *fixtures) checkRevokedSession(t *testing.T, tk token) {
	t.Helper()
	data, _ := os.ReadFile(filepath.Join(f.dir, "www/revocations.jsonl"))
	times := 0
	for line := range strings.Lines(string(data)) {
		var r struct {
			Path, Body string
			Headers    map[string]string
		}
		must(t, json.Unmarshal([]byte(line), &r))
		if r.Path != "/tokens/"+tk.user {
			continue
		}
		times++
		if r.Body != `{"token":"`+tk.password+`"}` || r.Headers["Authorization"] != "" || r.Headers["Content-Type"] != "application/json" {
			t.Errorf("the session of %s was ended with %q and %v", tk.user, r.Body, r.Headers)
		}
	}
	if times != 1 {
		t.Errorf("the session of %s was ended %d times", tk.user, times)
	}
}
