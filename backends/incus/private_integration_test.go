//go:build integration

package incus_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lxc/incus/v6/shared/tls"

	"lpbuildd/backends"
	"lpbuildd/backends/incus"
)

// private is an engine of the test's own, which may be killed.
type private struct {
	*place
	// admin is the command line of its administration.
	admin []string
	// address is where it listens for other machines.
	address string
	cmd     *exec.Cmd
}

// newPrivate starts one, in a folder whose path is short enough for sockets.
func newPrivate(t *testing.T, engine string) *private {
	t.Helper()
	program, variable, admin := "/usr/libexec/incus/incusd", "INCUS_DIR", []string{"incus", "admin"}
	if engine == incus.LXD {
		program, variable, admin = "/usr/bin/lxd", "LXD_DIR", []string{"lxd"}
	}
	if _, err := os.Stat(program); err != nil || os.Getuid() != 0 {
		t.Skipf("needs root and %s, which .ci/containers installs: %v", engine, err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "incustest-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	p := &private{
		place: &place{engine: engine, socket: dir + "/unix.socket", cli: engines()[engine][1], pool: "default", dir: t.TempDir()},
		admin: admin, address: freeAddress(t),
	}
	p.env = []string{variable + "=" + dir, "PATH=" + os.Getenv("PATH") + ":/usr/libexec/incus"}
	p.start(t, program)
	t.Cleanup(func() {
		p.forgetAll(t)
		p.leftNothing(t)
		_, _ = p.try(t, "storage", "delete", "default")
		_ = p.administer(t, "shutdown", "--timeout", "20")
		p.kill(t)
		// It keeps folders of its own mounted.
		for _, name := range []string{"devincus", "guestapi", "devlxd", "shmounts"} {
			_ = syscall.Unmount(filepath.Join(dir, name), syscall.MNT_DETACH)
		}
	})
	p.client(t, "storage", "create", "default", "dir")
	return p
}

// freeAddress has a port that nobody uses, and that the kernel gives to nobody who
// just connects.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		l, err := net.Listen("tcp", address)
		if err == nil {
			check(t, l.Close())
			return address
		}
	}
}

// administer runs the engine's own program.
func (p *private) administer(t *testing.T, args ...string) error {
	t.Helper()
	return backends.Host{}.Run(context.WithoutCancel(t.Context()), backends.Command{Argv: slices.Concat(p.admin, args), Env: p.env})
}

// start starts the daemon, for the first time or again.
func (p *private) start(t *testing.T, program string) {
	t.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), program)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	check(t, p.cmd.Start())
	check(t, p.administer(t, "waitready", "--timeout", "600"))
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
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	check(t, tls.GenCert(cert, key, true, false))
	return cert, key
}

// remotely makes the builds of a place use the engine as another machine does.
func (p *private) remotely(t *testing.T) {
	t.Helper()
	cert, key := identity(t)
	p.client(t, "config", "set", "core.https_address", p.address)
	p.client(t, "config", "trust", "add-certificate", cert)
	p.change = func(cfg *incus.Config) {
		cfg.Engine, cfg.Socket = incus.Auto, ""
		cfg.Remote, cfg.ClientCert, cfg.ClientKey = "https://"+p.address, cert, key
		cfg.ServerCert = filepath.Join(filepath.Dir(p.socket), "server.crt")
	}
}
