//go:build integration

package incus_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/backendtest"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/verdict"
)

// realImage is the base image that .ci/container-image makes.
func realImage(tb testing.TB) backends.Image {
	tb.Helper()
	path := os.Getenv("LPBUILDD_TEST_CONTAINER_IMAGE")
	if path == "" {
		out, err := exec.CommandContext(tb.Context(), "../../.ci/container-image", "--path").Output()
		check(tb, err)
		path = strings.TrimSpace(string(out))
	}
	if _, err := os.Stat(path); err != nil {
		tb.Skipf("needs the image that .ci/container-image makes: %v", err)
	}
	sum := sha1.Sum([]byte(path))
	return backends.Image{Path: path, SHA1: hex.EncodeToString(sum[:]), Type: "chroot"}
}

// network gives a configuration a bridge.
func network(tb testing.TB, cfg *incus.Config) {
	tb.Helper()
	name := "incustest" + cfg.Engine
	net := bridge.Config{Name: bridge.NameFor(name), Subnet: bridge.SubnetFor(name), Host: backends.Host{}}
	b, err := bridge.Start(tb.Context(), net)
	check(tb, err)
	tb.Cleanup(func() { check(tb, b.Stop(context.WithoutCancel(tb.Context()))) })
	cfg.Bridge, cfg.HostAddress, cfg.Address = net.Name, net.HostAddress(), net.ContainerAddress()
}

func TestARealContainerIsSetUp(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := realImage(t)
		cfg := p.config(t)
		network(t, &cfg)
		c, err := incus.New(cfg)
		check(t, err)
		defer takeAway(t, c)
		start(t, c, image)
		host, err := os.Hostname()
		check(t, err)
		for _, tt := range []struct{ what, script, want string }{
			{"the image's hosts are kept", "head -n 1 /etc/hosts; grep -c ^127.0.1.1 /etc/hosts", "127.0.0.1\tlocalhost\n1\n"},
			{"the host name is the builder's", "cat /etc/hostname", host + "\n"},
			{"a resolver is named", "grep -c ^nameserver /etc/resolv.conf; grep -c 'nameserver 127' /etc/resolv.conf; stat -c %a /etc/resolv.conf", "1\n0\n644\n"},
			{"services are not started", "/usr/local/sbin/policy-rc.d --quiet ssh start; echo $?", "Not running services in chroot.\n101\n"},
			{"but those that builds need are", "for s in udev systemd-udevd.service snapd snapd.seeded.service; do /usr/local/sbin/policy-rc.d $s restart || echo $s; done", ""},
			{"nothing else is like them", "for s in snapdx udevx systemd-udevdx ''; do /usr/local/sbin/policy-rc.d $s >/dev/null && echo $s; done; true", ""},
			{"snapd does not use the content network", "cat /etc/systemd/system/snapd.service.d/no-cdn.conf", "[Service]\nEnvironment=SNAPPY_STORE_NO_CDN=1\n"},
			{"snapd does not refresh", "readlink /etc/systemd/system/snapd.refresh.timer", "/dev/null\n"},
			{"it has its address", "ip -4 -o addr show dev eth0 | grep -co 'inet " + cfg.Address.String() + "'; ip route | grep -c '^default via " + cfg.HostAddress.Addr().String() + "'", "1\n1\n"},
			{"systemd is up", "systemctl show --property=Version >/dev/null && echo up", "up\n"},
			{"capabilities are not dropped", "mount -t tmpfs none /mnt && umount /mnt && echo mounted", "mounted\n"},
			{"devices are there", "test -c /dev/loop-control -o -b /dev/loop0 && echo loop; head -c 3 /dev/zero | wc -c", "loop\n3\n"},
			{"personality", "uname -m", "x86_64\n"},
			{"commands may take longer than one question to the engine", "sleep 6; echo slept", "slept\n"},
		} {
			if got := output(t, c, tt.script); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.what, got, tt.want)
			}
		}
	})
}

func wantHostFault(t *testing.T, err error, text string) {
	t.Helper()
	var fault *verdict.HostFault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), text) || fault.Advice == "" {
		t.Errorf("got %v, want the host's fault about %q", err, text)
	}
}

func TestAContainerThatOthersTakeAwayIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		for _, action := range []string{"stop", "delete"} {
			c := p.container(t)
			start(t, c, image)
			result := make(chan error, 1)
			r, w := io.Pipe()
			go func() {
				err := c.Run(t.Context(), backends.Command{Argv: []string{"sh", "-c", "echo started; sleep 3600"}, Stdout: w})
				_ = w.Close()
				result <- err
			}()
			_, err := r.Read(make([]byte, 10))
			check(t, err)
			p.client(t, action, c.Name(), "--force")
			select {
			case err := <-result:
				wantHostFault(t, err, "was stopped or deleted")
			case <-time.After(5 * time.Minute):
				t.Fatalf("%s: the command still runs", action)
			}
			wantHostFault(t, c.Run(t.Context(), backends.Command{Argv: []string{"true"}}), "")
			takeAway(t, c)
		}
	})
}

// recompressed is the same tarball with other bytes.
func recompressed(t *testing.T, image backends.Image) backends.Image {
	t.Helper()
	f, err := os.Open(image.Path)
	check(t, err)
	z, err := gzip.NewReader(f)
	check(t, err)
	plain, err := io.ReadAll(z)
	check(t, errors.Join(err, f.Close()))
	path := filepath.Join(t.TempDir(), "image.tar")
	check(t, os.WriteFile(path, plain, 0o600))
	return backends.Image{Path: path, SHA1: "f00d" + image.SHA1[4:], Type: image.Type}
}

func TestImagesAreKeptAndUsedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		aliases := func(image backends.Image) string {
			return p.client(t, "image", "alias", "list", "--format", "csv", image.SHA1)
		}
		first := p.container(t)
		check(t, first.Create(t.Context(), image))
		before := aliases(image)
		if !strings.Contains(before, "lpbuildd-"+image.SHA1+"-1-noble-amd64") {
			t.Fatalf("aliases are %q", before)
		}
		t.Run("by the next build, without the file", func(t *testing.T) {
			next := p.container(t)
			kept := image
			kept.Path += ".gone"
			start(t, next, kept)
			takeAway(t, next)
		})
		t.Run("the same content under another sum is not stored again", func(t *testing.T) {
			other := recompressed(t, image)
			t.Cleanup(func() { p.forget(t, other) })
			next := p.container(t)
			check(t, next.Create(t.Context(), other))
			if a, b := strings.Split(aliases(other), ",")[1], strings.Split(before, ",")[1]; a != b {
				t.Errorf("fingerprints are %s and %s", a, b)
			}
			takeAway(t, next)
		})
		t.Run("unless somebody deletes it, which is repaired", func(t *testing.T) {
			next := p.container(t)
			check(t, next.Create(t.Context(), image))
			p.forget(t, image)
			check(t, next.Start(t.Context()))
			takeAway(t, next)
		})
		takeAway(t, first)
	})
}

// unified turns a chroot tarball into an image of the engines.
func unified(t *testing.T, image backends.Image) backends.Image {
	t.Helper()
	f, err := os.Open(image.Path)
	check(t, err)
	z, err := gzip.NewReader(f)
	check(t, err)
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	meta := `{"architecture": "x86_64", "creation_date": 1700000000}`
	check(t, w.WriteHeader(&tar.Header{Name: "metadata.yaml", Mode: 0o644, Size: int64(len(meta))}))
	_, err = w.Write([]byte(meta))
	check(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(t, err)
		h.Name = strings.Replace(h.Name, "chroot-autobuild", "rootfs", 1)
		check(t, w.WriteHeader(h))
		_, err = io.Copy(w, r)
		check(t, err)
	}
	check(t, errors.Join(w.Close(), f.Close()))
	path := filepath.Join(t.TempDir(), "image")
	check(t, os.WriteFile(path, out.Bytes(), 0o600))
	return backends.Image{Path: path, SHA1: "1xd0" + image.SHA1[4:], Type: "lxd"}
}

func TestImagesOfTheEngines(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := unified(t, bootable(t, p))
		t.Cleanup(func() { p.forget(t, image) })
		c := p.container(t)
		start(t, c, image)
		if got := output(t, c, "echo works"); got != "works\n" {
			t.Errorf("got %q", got)
		}
		takeAway(t, c)
	})
}

func TestWhatIsNoImage(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		path := filepath.Join(t.TempDir(), "image")
		check(t, os.WriteFile(path, []byte("this is not an archive"), 0o600))
		for _, kind := range []string{"chroot", "lxd"} {
			c := p.container(t)
			err := c.Create(t.Context(), backends.Image{Path: path, SHA1: "bad", Type: kind})
			var fault *verdict.HostFault
			if err == nil || errors.As(err, &fault) {
				t.Errorf("%s: got %v", kind, err)
			}
			takeAway(t, c)
		}
		if out := p.client(t, "image", "alias", "list", "--format", "csv", "lpbuildd-bad"); out != "" {
			t.Errorf("left is %s", out)
		}
	})
}

func TestAbortedImports(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := realImage(t)
		image.SHA1 = "ab0" + image.SHA1[3:]
		t.Cleanup(func() { p.forget(t, image) })
		c := p.container(t)
		want := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(300*time.Millisecond, func() { cancel(want) })
		if err := c.Create(ctx, image); !errors.Is(err, want) {
			t.Errorf("got %v", err)
		}
		takeAway(t, c)
		if out := p.client(t, "image", "alias", "list", "--format", "csv", image.SHA1); out != "" {
			t.Errorf("left is %s", out)
		}
	})
}

func TestAbortedStarts(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		for _, ms := range []int{0, 50, 150, 300, 600} {
			c := p.container(t)
			check(t, c.Create(t.Context(), image))
			want := errors.New("enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Duration(ms)*time.Millisecond, func() { cancel(want) })
			if err := c.Start(ctx); err != nil && !errors.Is(err, want) {
				t.Errorf("after %d ms: %v", ms, err)
			}
			takeAway(t, c)
		}
	})
}

func TestCleanAfterACrash(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		cfg := p.config(t)
		c, err := incus.New(cfg)
		check(t, err)
		start(t, c, bootable(t, p))
		for range 2 {
			check(t, incus.Clean(t.Context(), cfg, incus.KindContainer, c.Name()))
			check(t, incus.Clean(t.Context(), cfg, incus.KindProfile, c.Name()))
		}
		if err := incus.Clean(t.Context(), cfg, "nonsense", c.Name()); err == nil {
			t.Error("an unknown kind is no error")
		}
		takeAway(t, c)
	})
}

func TestSnapsAreInstalledInThreeAttempts(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		// A stand-in for the snap command, which succeeds the second time.
		image := bootable(t, p, backendtest.Entry{
			Name: "usr/bin/snap",
			Data: "#!/bin/sh\n[ \"$2\" != never ] || exit 7\n[ -e /tried ] && exit 0\n: >/tried\nexit 1\n",
		})
		c := p.container(t)
		defer takeAway(t, c)
		start(t, c, image)
		var log bytes.Buffer
		check(t, c.Run(t.Context(), backends.Command{Argv: []string{"snap", "install", "it's"}, Stdout: &log, Stderr: &log}))
		want := "Running '['linux64', 'snap', 'install', \"it's\"]'. Attempt 1\nRunning '['linux64', 'snap', 'install', \"it's\"]'. Attempt 2\n"
		if log.String() != want {
			t.Errorf("got %q, want %q", log.String(), want)
		}
	})
}

func TestManyBuildersOnOneMachine(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		image := bootable(t, p)
		result := make(chan error)
		for i := range 3 {
			cfg := p.config(t)
			cfg.Instance += fmt.Sprint(i)
			c, err := incus.New(cfg)
			check(t, err)
			go func() {
				var out bytes.Buffer
				err := errors.Join(c.Create(t.Context(), image), c.Start(t.Context()),
					c.Run(t.Context(), backends.Command{Argv: []string{"echo", "fine"}, Stdout: &out}),
					c.Stop(t.Context()), c.Remove(t.Context()))
				if err == nil && out.String() != "fine\n" {
					err = fmt.Errorf("got %q", out.String())
				}
				result <- err
			}()
		}
		for range 3 {
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAPoolThatCopiesIsMentionedWithTheFirstImage(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		want := 1
		if strings.Contains(p.client(t, "image", "alias", "list", "--format", "csv"), "lpbuildd-") {
			want = 0 // a daemon has used this engine before
		}
		p.pool = "default"
		image := bootable(t, p)
		for range 2 {
			c := p.container(t)
			check(t, c.Create(t.Context(), image))
			takeAway(t, c)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		if n := len(slices.DeleteFunc(p.notices, func(s string) bool { return !strings.Contains(s, "driver dir") })); n != want {
			t.Errorf("it was said %d times and not %d times", n, want)
		}
	})
}

func TestAMissingPoolIsTheHostsFault(t *testing.T) {
	onEach(t, func(t *testing.T, p *place) {
		p.pool = "nosuchpool"
		image := bootable(t, p)
		c := p.container(t)
		check(t, c.Create(t.Context(), image))
		wantHostFault(t, c.Start(t.Context()), "ool")
		takeAway(t, c)
	})
}
