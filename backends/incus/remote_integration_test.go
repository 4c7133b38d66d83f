//go:build integration

package incus_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
)

// withNetwork gives a configuration a network that the engine makes.
func withNetwork(cfg *incus.Config) {
	net := bridge.Config{Name: bridge.NameFor("incustest-remote"), Subnet: netip.MustParsePrefix("10.211.77.0/24")}
	cfg.Bridge, cfg.HostAddress, cfg.Address = net.Name, net.HostAddress(), net.ContainerAddress()
}

// TestAnEngineOnAnotherMachine uses an Incus over HTTPS, with a client
// certificate that it trusts.
func TestAnEngineOnAnotherMachine(t *testing.T) {
	p := newPrivate(t, incus.Incus)
	p.remotely(t)
	image := bootable(t, p.place)
	t.Run("behaves like one on this machine", func(t *testing.T) {
		backendtest.Run(t, func(t *testing.T) (backends.Lifecycle, backends.Image) {
			t.Helper()
			return p.container(t), image
		})
	})
	t.Run("makes the network", func(t *testing.T) { p.testNetwork(t, image) })
	t.Run("makes the network of a cluster", func(t *testing.T) {
		name, _, _ := strings.Cut(p.address, ":")
		p.client(t, "config", "set", "cluster.https_address", p.address)
		p.client(t, "cluster", "enable", name)
		p.change = clustered(p)
		p.testNetwork(t, image)
	})
}

// clustered is p.change for an engine that has become a cluster, which has a
// certificate of its own.
func clustered(p *private) func(*incus.Config) {
	alone := p.change
	return func(cfg *incus.Config) {
		alone(cfg)
		cfg.ServerCert = strings.TrimSuffix(cfg.ServerCert, "server.crt") + "cluster.crt"
	}
}

func (p *private) testNetwork(t *testing.T, image backends.Image) {
	cfg := p.config(t)
	withNetwork(&cfg)
	c, err := incus.New(cfg)
	check(t, err)
	defer takeAway(t, c)
	start(t, c, image)
	if got, want := output(t, c, "cat /etc/resolv.conf"), "nameserver "+cfg.HostAddress.Addr().String()+"\n"; got != want {
		t.Errorf("resolv.conf is %q, want %q", got, want)
	}
	here, from, err := c.Way(t.Context())
	check(t, err)
	l, err := net.Listen("tcp", netip.AddrPortFrom(here, 0).String())
	check(t, err)
	defer func() { check(t, l.Close()) }()
	go hello(l)
	_, port, err := net.SplitHostPort(l.Addr().String())
	check(t, err)
	got := output(t, c, "bash -c 'exec 3<>/dev/tcp/"+here.String()+"/"+port+"; cat <&3'")
	client, err := netip.ParseAddr(strings.TrimSpace(got))
	check(t, err)
	allowed := false
	for _, prefix := range from {
		allowed = allowed || prefix.Contains(client)
	}
	if !allowed {
		t.Errorf("the container comes from %s, which is not in %v", client, from)
	}
}

// hello tells everybody their address.
func hello(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
		_, _ = io.WriteString(conn, host+"\n")
		_ = conn.Close()
	}
}

func TestAnEngineThatDoesNotTrustUs(t *testing.T) {
	p := newPrivate(t, incus.Incus)
	p.remotely(t)
	image := bootable(t, p.place)
	trusted := p.change
	for _, tt := range []struct {
		what, want string
		change     func(*incus.Config)
	}{
		{"an unknown certificate", "does not trust this builder", func(cfg *incus.Config) { cfg.ClientCert, cfg.ClientKey = identity(t) }},
		{"no certificate", "does not trust this builder", func(cfg *incus.Config) { cfg.ClientCert, cfg.ClientKey = "", "" }},
		{"a server that is another one", "certificate", func(cfg *incus.Config) { cfg.ServerCert, _ = identity(t) }},
		{"a server that is not there", "refused", func(cfg *incus.Config) { cfg.Remote = "https://127.0.0.1:1" }},
	} {
		p.change = func(cfg *incus.Config) { trusted(cfg); tt.change(cfg) }
		c := p.container(t)
		wantHostFault(t, c.Create(t.Context(), image), tt.want)
		takeAway(t, c)
	}
}

// TestAnEngineIsKilled kills the engine under a build. What it leaves is
// cleaned when there is an engine again.
func TestAnEngineIsKilled(t *testing.T) {
	for engine := range engines() {
		t.Run(engine, func(t *testing.T) { newPrivate(t, engine).testKill(t) })
	}
}

func (p *private) testKill(t *testing.T) {
	image := bootable(t, p.place)
	cfg := p.config(t)
	c, err := incus.New(cfg)
	check(t, err)
	start(t, c, image)
	r, w := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := c.Run(t.Context(), backends.Command{Argv: []string{"sh", "-c", "echo started; sleep 3600"}, Stdout: w})
		_ = w.Close()
		result <- err
	}()
	_, err = r.Read(make([]byte, 10))
	check(t, err)
	p.kill(t)
	wantHostFault(t, <-result, "no use of ")
	wantHostFault(t, c.CopyIn(t.Context(), bytes.NewReader(nil), "/f", 0o644), "no use of ")
	wantHostFault(t, c.Stop(t.Context()), "no use of ")
	p.start(t, p.cmd.Path)
	check(t, incus.Clean(t.Context(), cfg, incus.KindContainer, c.Name()))
	check(t, incus.Clean(t.Context(), cfg, incus.KindProfile, c.Name()))
	takeAway(t, c)
}

// TestAnEngineHangs stops the engine, which then answers nobody, under a build
// that is aborted. All that is left to do must end before managers lose their
// patience, which takes 180 s, with a minute for the first answer: here it is less.
func TestAnEngineHangs(t *testing.T) {
	p := newPrivate(t, incus.Incus)
	cfg := p.config(t)
	cfg.AnswerTime = 20 * time.Second
	c, err := incus.New(cfg)
	check(t, err)
	start(t, c, bootable(t, p.place))
	r, w := io.Pipe()
	result := make(chan error, 1)
	enough := errors.New("enough")
	ctx, abort := context.WithCancelCause(t.Context())
	go func() {
		err := c.Run(ctx, backends.Command{Argv: []string{"sh", "-c", "echo started; sleep 3600"}, Stdout: w})
		_ = w.Close()
		result <- err
	}()
	_, err = r.Read(make([]byte, 10))
	check(t, err)
	check(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	began := time.Now()
	abort(enough)
	if err := <-result; !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	for _, step := range []func(context.Context) error{c.KillProcesses, c.Stop, c.Remove} {
		wantHostFault(t, step(t.Context()), "Incus")
	}
	if took := time.Since(began); took > 120*time.Second-(time.Minute-cfg.AnswerTime) {
		t.Errorf("it took %v", took)
	}
	check(t, p.cmd.Process.Signal(syscall.SIGCONT))
	check(t, incus.Clean(t.Context(), cfg, incus.KindContainer, c.Name()))
	check(t, incus.Clean(t.Context(), cfg, incus.KindProfile, c.Name()))
	takeAway(t, c)
}

// TestImagesAreEvicted keeps one image, and what is in use.
func TestImagesAreEvicted(t *testing.T) {
	p := newPrivate(t, incus.Incus)
	p.change = func(cfg *incus.Config) { cfg.MaxImages = 1 }
	var images []backends.Image
	for _, name := range []string{"one", "two", "three"} {
		images = append(images, bootable(t, p.place, backendtest.Entry{Name: "etc/which", Data: name}))
	}
	wantKept := func(want ...backends.Image) {
		t.Helper()
		list := p.client(t, "image", "alias", "list", "--format", "csv")
		for _, image := range images {
			if got := strings.Contains(list, image.SHA1); got != slices.Contains(want, image) {
				t.Errorf("%s is kept: %v; all are\n%s", image.SHA1, got, list)
			}
		}
	}
	first, second, third := p.container(t), p.container(t), p.container(t)
	start(t, first, images[0])
	check(t, second.Create(t.Context(), images[1]))
	wantKept(images[0], images[1]) // one is in use
	takeAway(t, first)
	check(t, third.Create(t.Context(), images[2]))
	wantKept(images[2])
	// It was prepared before its image went.
	check(t, second.Start(t.Context()))
	if got := output(t, second, "cat /etc/which"); got != "two" {
		t.Errorf("the container is of the image %q", got)
	}
	takeAway(t, second)
	takeAway(t, third)
}
