//go:build integration

package incus_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/incus"
)

// engines are the engines to test with, and their sockets and command-line
// clients.
func engines() map[string][2]string {
	return map[string][2]string{
		incus.LXD:   {"/var/lib/lxd/unix.socket", "lxc"},
		incus.Incus: {"/var/lib/incus/unix.socket", "incus"},
	}
}

// place is an engine with what a test makes in it.
type place struct {
	engine, socket, cli, pool string
	dir                       string
	env                       []string // of cli
	// change makes a configuration that of a special place; nil for the others.
	change func(*incus.Config)

	mu      sync.Mutex // guards the fields below
	n       int
	ledger  []string
	notices []string
}

// onEach runs a test for each engine that runs here.
func onEach(t *testing.T, f func(t *testing.T, p *place)) {
	t.Helper()
	for engine := range engines() {
		t.Run(engine, func(t *testing.T) { f(t, newPlace(t, engine)) })
	}
}

func newPlace(tb testing.TB, engine string) *place {
	tb.Helper()
	socket, cli := engines()[engine][0], engines()[engine][1]
	conn, err := net.Dial("unix", socket)
	if err != nil {
		tb.Skipf("needs %s, which .ci/containers starts: %v", engine, err)
	}
	_ = conn.Close()
	p := &place{engine: engine, socket: socket, cli: cli, pool: "default", dir: tb.TempDir()}
	if _, err := p.try(tb, "storage", "show", "btrfs"); err == nil {
		p.pool = "btrfs"
	}
	tb.Cleanup(func() { p.leftNothing(tb) })
	return p
}

// try runs the engine's command-line client.
func (p *place) try(tb testing.TB, args ...string) (string, error) {
	tb.Helper()
	out, err := backends.Output(context.WithoutCancel(tb.Context()), backends.Host{},
		backends.Command{Argv: append([]string{p.cli}, args...), Env: p.env, Stderr: io.Discard})
	return string(out), err
}

func (p *place) client(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := p.try(tb, args...)
	check(tb, err)
	return out
}

// leftNothing looks for what tests should have taken away.
func (p *place) leftNothing(tb testing.TB) {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.ledger) > 0 {
		tb.Errorf("still in the ledger: %s", p.ledger)
	}
	for _, what := range []string{"list", "profile list", "network list"} {
		if out := p.client(tb, append(strings.Fields(what), "--format", "csv")...); strings.Contains(out, "incustest") || strings.Contains(out, "builds of lpbuildd") {
			tb.Errorf("left behind (%s): %s", what, out)
		}
	}
}

// config is one for a new build.
func (p *place) config(tb testing.TB) incus.Config {
	tb.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	dir := filepath.Join(p.dir, fmt.Sprintf("build-%d", p.n))
	check(tb, os.Mkdir(dir, 0o750))
	cfg := incus.Config{
		Engine: p.engine, Socket: p.socket, Pool: p.pool, Instance: "incustest",
		BuildID: fmt.Sprintf("%s-%d", tb.Name(), p.n), BuildDir: dir, Series: "noble", Arch: "amd64", MaxImages: 50,
		Record: func(kind, name string) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ledger = append(p.ledger, kind+" "+name)
			return nil
		},
		Done: func(kind, name string) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.ledger = slices.DeleteFunc(p.ledger, func(e string) bool { return e == kind+" "+name })
			return nil
		},
		Notice: func(line string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.notices = append(p.notices, line)
		},
	}
	if p.change != nil {
		p.change(&cfg)
	}
	return cfg
}

func (p *place) container(tb testing.TB) *incus.Container {
	tb.Helper()
	c, err := incus.New(p.config(tb))
	check(tb, err)
	return c
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func takeAway(tb testing.TB, c *incus.Container) {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	check(tb, errors.Join(c.KillProcesses(ctx), c.Stop(ctx), c.Remove(ctx)))
}

// bootable is a small image with a first process, whose image in the engine is
// deleted at the end.
func bootable(tb testing.TB, p *place, extra ...backendtest.Entry) backends.Image {
	tb.Helper()
	extra = append(extra,
		backendtest.Entry{Name: "usr/sbin/init", Data: "#!/bin/sh\nmount -t devtmpfs udev /dev\nwhile :; do sleep 86400; done\n"},
		backendtest.Entry{Name: "run", Dir: true},
	)
	path := backendtest.MiniImage(tb, extra...)
	data, err := os.ReadFile(path)
	check(tb, err)
	sum := sha1.Sum(append(data, p.engine...))
	image := backends.Image{Path: path, SHA1: hex.EncodeToString(sum[:]), Type: "chroot"}
	tb.Cleanup(func() { p.forget(tb, image) })
	return image
}

// forget deletes the images that are kept of a base image.
func (p *place) forget(tb testing.TB, image backends.Image) {
	tb.Helper()
	for line := range strings.Lines(p.client(tb, "image", "alias", "list", "--format", "csv", image.SHA1)) {
		_, _ = p.try(tb, "image", "delete", strings.Split(line, ",")[0])
	}
}

func start(tb testing.TB, c *incus.Container, image backends.Image) {
	tb.Helper()
	check(tb, c.Create(tb.Context(), image))
	check(tb, c.Start(tb.Context()))
}

func output(tb testing.TB, c *incus.Container, script string) string {
	tb.Helper()
	out, err := backends.Output(tb.Context(), c, backends.Command{Argv: []string{"sh", "-c", script}})
	if err != nil {
		tb.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

func TestBehaviour(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		backendtest.Run(t, func(t *testing.T) (backends.Lifecycle, backends.Image) {
			t.Helper()
			return p.container(t), image
		})
		if entries, _ := filepath.Glob(filepath.Join(p.dir, "build-*")); len(entries) != 0 {
			t.Errorf("left are %s", entries)
		}
	})
}
