//go:build integration

package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lxc/incus/v6/shared/tls"

	"lpbuildd/backends/bridge"
)

// TestContainersOnAnotherMachine builds with an Incus that is reached over
// HTTPS, as if it were on another machine: it makes the network itself.
func TestContainersOnAnotherMachine(t *testing.T) {
	needRoot(t)
	f := newFixtures(t)
	r := newRemoteRig(t, f)
	r.adopt()
	for _, part := range []struct {
		name string
		run  func(*rig)
	}{
		{"an image through the proxy", (*rig).ociFromAfar},
		{"an abort", (*rig).abortBuild},
		{"a supervisor that is killed", (*rig).supervisorKilled},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(r.within(t)) })
		if t.Failed() {
			return // the builder may not be at rest
		}
	}
	if networks := r.engine(t, "network", "list", "--format", "csv"); strings.Contains(networks, "builds of lpbuildd") {
		t.Errorf("left behind: %s", networks)
	}
}

// ociFromAfar is an image whose build reaches the network by the proxy on the
// builder's machine.
func (r *rig) ociFromAfar() {
	tk := r.token(r.t(), r.id("oci"))
	args := tk.args()
	args["build_args"] = map[string]any{"MESSAGE": "built", "FETCH_URL": r.url + "/fetched"}
	r.job("oci", "oci", args)
	st := r.finish("OK")
	r.checkOCI(st)
	r.rests()
	r.checkUsed(r.t(), tk, "/fetched")
	r.checkRevoked(r.t(), tk)
}

// newRemoteRig starts a builder that knows the engine's address only.
func newRemoteRig(t *testing.T, f *fixtures) *rig {
	t.Helper()
	if conn, err := net.Dial("unix", "/var/lib/incus/unix.socket"); err != nil {
		t.Skipf("needs Incus, which .ci/containers starts: %v", err)
	} else {
		_ = conn.Close()
	}
	r := &rig{fixtures: f, cli: "incus", instance: "e2e-remote"}
	dir := t.TempDir()
	cert, key := identity(t, dir)
	address := fmt.Sprintf("%s:%d", ownAddress(t), freePort(t))
	if old := strings.TrimSpace(r.engine(t, "config", "get", "core.https_address")); old != "" {
		address = old
	} else {
		r.engine(t, "config", "set", "core.https_address", address)
		t.Cleanup(func() { r.engine(t, "config", "unset", "core.https_address") })
	}
	r.engine(t, "config", "trust", "add-certificate", cert, "--name", r.instance)
	t.Cleanup(func() { r.distrust(t) })
	t.Cleanup(func() { r.remove(t) })
	r.builder = newBuilder(t, options{config: fmt.Sprintf(
		"[backend]\nremote = https://%s\nclientcert = %s\nclientkey = %s\nservercert = /var/lib/incus/server.crt\n"+
			"pool = btrfs\ninstance = %s\nsubnet = 10.211.63.0/24\n", address, cert, key, r.instance)})
	r.bridge = bridge.NameFor(r.instance)
	return r
}

// distrust makes the engine forget the certificate of a rig.
func (r *rig) distrust(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(r.engine(t, "config", "trust", "list", "--format", "csv", "--columns", "nf")) {
		if name, fingerprint, _ := strings.Cut(strings.TrimSpace(line), ","); name == r.instance {
			r.engine(t, "config", "trust", "remove", fingerprint)
		}
	}
}

// identity makes a client certificate and its key, as files.
func identity(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	must(t, tls.GenCert(cert, key, true, false))
	return cert, key
}
