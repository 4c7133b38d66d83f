//go:build integration

package incus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/backends/incus"
)

// private is an Incus of the test's own, which may be killed.
type private struct {
	*place
	// address is where it listens for other machines.
	address string
	cmd     *exec.Cmd
}

// newPrivate starts one, in a folder whose path is short enough for sockets.
func newPrivate(t *testing.T) *private {
	t.Helper()
	const program = "/usr/libexec/incus/incusd"
	if _, err := os.Stat(program); err != nil || os.Getuid() != 0 {
		t.Skipf("needs root and Incus, which .ci/containers installs: %v", err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "incustest-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	p := &private{
		place:   &place{engine: incus.Incus, socket: dir + "/unix.socket", cli: "incus", pool: "default", dir: t.TempDir()},
		address: l.Addr().String(),
	}
	check(t, l.Close())
	p.env = []string{"INCUS_DIR=" + dir, "PATH=" + os.Getenv("PATH") + ":/usr/libexec/incus"}
	p.start(t, program)
	t.Cleanup(func() {
		p.forgetAll(t)
		p.leftNothing(t)
		_, _ = p.try(t, "storage", "delete", "default")
		_, _ = p.try(t, "admin", "shutdown", "--timeout", "20")
		p.kill(t)
		// It keeps the folders of its own mounted.
		for _, name := range []string{"devincus", "guestapi", "shmounts"} {
			_ = syscall.Unmount(filepath.Join(dir, name), syscall.MNT_DETACH)
		}
	})
	p.client(t, "storage", "create", "default", "dir")
	p.client(t, "config", "set", "core.https_address", p.address)
	return p
}

// start starts the daemon, for the first time or again.
func (p *private) start(t *testing.T, program string) {
	t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(t, p.cmd.Start())
	_, err := p.try(t, "admin", "waitready", "--timeout", "60")
	check(t, err)
}

// kill kills the daemon, and nothing that it started.
func (p *private) kill(t *testing.T) {
	t.Helper()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// forgetAll deletes the images of the engine.
func (p *private) forgetAll(t *testing.T) {
	t.Helper()
	for fingerprint := range strings.Lines(p.client(t, "image", "list", "--format", "csv", "--columns", "f")) {
		p.client(t, "image", "delete", strings.TrimSpace(fingerprint))
	}
}

// identity makes a client certificate and its key, as files.
func identity(t *testing.T) (cert, key string) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "builder"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, secret.Public(), secret)
	check(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(secret)
	check(t, err)
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(t.TempDir(), name)
		check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
		return path
	}
	return write("client.crt", "CERTIFICATE", der), write("client.key", "PRIVATE KEY", raw)
}

// remotely makes the builds of a place use the engine as another machine does.
func (p *private) remotely(t *testing.T) {
	t.Helper()
	cert, key := identity(t)
	p.client(t, "config", "trust", "add-certificate", cert)
	p.change = func(cfg *incus.Config) {
		cfg.Engine, cfg.Socket = incus.Auto, ""
		cfg.Remote, cfg.ClientCert, cfg.ClientKey = "https://"+p.address, cert, key
		cfg.ServerCert = filepath.Join(filepath.Dir(p.socket), "server.crt")
	}
}
