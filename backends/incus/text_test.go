package incus

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
)

func compressed(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func addresses() (host, container netip.Prefix) {
	return netip.MustParsePrefix("10.10.10.1/24"), netip.MustParsePrefix("10.10.10.2/24")
}

func TestRawSettings(t *testing.T) {
	host, container := addresses()
	for _, tt := range []struct {
		name, arch string
		major      int
		bridge     bool
	}{
		{"lxc5", "amd64", 5, true},
		{"lxc5-no-bridge", "amd64", 5, false},
		{"lxc3-powerpc", "powerpc", 3, true},
		{"lxc2", "amd64", 2, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var h, c netip.Prefix
			if tt.bridge {
				h, c = host, container
			}
			want, err := os.ReadFile(filepath.Join("testdata", tt.name+".raw"))
			if err != nil || len(want) == 0 {
				t.Fatalf("no golden file: %v", err)
			}
			if got := rawLXC(tt.major, tt.arch, h, c); got != string(want) {
				t.Errorf("got\n%s", got)
			}
		})
	}
}

func TestProfileDevices(t *testing.T) {
	host, container := addresses()
	cfg := Config{Bridge: "br", HostAddress: host, Address: container, Pool: "fast", Arch: "amd64"}
	got := profileFor(cfg, "p", 5, []string{"/usr/lib/libcuda.so", "/dev/nvidia0", "/usr/bin/nvidia-smi"})
	want := map[string]map[string]string{
		"eth0":     {"type": "nic", "nictype": "bridged", "parent": "br", "name": "eth0"},
		"root":     {"type": "disk", "path": "/", "pool": "fast"},
		"nvidia-0": {"type": "disk", "path": "/usr/lib/libcuda.so", "source": "/usr/lib/libcuda.so"},
		"nvidia-2": {"type": "disk", "path": "/usr/bin/nvidia-smi", "source": "/usr/bin/nvidia-smi"},
	}
	if !reflect.DeepEqual(map[string]map[string]string(got.Devices), want) {
		t.Errorf("got %v", got.Devices)
	}
	if got.Config["security.privileged"] != "true" || got.Config["security.nesting"] != "true" {
		t.Errorf("got %v", got.Config)
	}
	if got = profileFor(Config{}, "p", 2, nil); len(got.Devices) != 0 {
		t.Errorf("got %v", got.Devices)
	}
}

func TestProfileLimits(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want map[string]string
	}{
		{Config{}, map[string]string{}},
		{Config{CPUs: 1.5}, map[string]string{"limits.cpu.allowance": "150ms/100ms"}},
		{Config{CPUs: 0.001}, map[string]string{"limits.cpu.allowance": "1ms/100ms"}},
		{Config{Processes: 500}, map[string]string{"limits.processes": "500"}},
		{Config{Memory: 4 << 30}, map[string]string{"limits.memory": "4294967296", "limits.memory.swap": "false"}},
	} {
		got := profileFor(tt.cfg, "p", 5, nil).Config
		maps.DeleteFunc(got, func(key, _ string) bool { return !strings.HasPrefix(key, "limits.") })
		if !maps.Equal(got, tt.want) {
			t.Errorf("%v and %d: got %v", tt.cfg.CPUs, tt.cfg.Memory, got)
		}
	}
}

func TestContainerNames(t *testing.T) {
	for _, cfg := range []Config{
		{Series: "noble", Arch: "amd64", Instance: "default", BuildID: "BUILD-1"},
		{Series: "xenial", Arch: "armhf", Instance: "a_b.c/..", BuildID: "x/y"},
		{Series: strings.Repeat("s", 80), Arch: "amd64", Instance: strings.Repeat("-", 80)},
		{},
	} {
		name := containerName(cfg)
		bad := strings.IndexFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && r != '-'
		})
		if bad >= 0 || len(name) > maxName || !strings.HasPrefix(name, "lp-") || strings.Contains(name, "--") {
			t.Errorf("got %q", name)
		}
	}
	a := containerName(Config{Series: "noble", Arch: "amd64", Instance: "one", BuildID: "1"})
	for _, other := range []Config{
		{Series: "noble", Arch: "amd64", Instance: "two", BuildID: "1"},
		{Series: "noble", Arch: "amd64", Instance: "one", BuildID: "2"},
	} {
		if containerName(other) == a {
			t.Errorf("two have the name %s", a)
		}
	}
	if !strings.HasPrefix(a, "lp-noble-amd64-one-") {
		t.Errorf("got %q", a)
	}
}

func TestAliases(t *testing.T) {
	chroot := backends.Image{SHA1: "abc", Type: chrootImage}
	if got := aliasName(chroot, "noble", "amd64"); got != "lpbuildd-abc-"+converterVersion+"-noble-amd64" {
		t.Errorf("got %q", got)
	}
	unified := backends.Image{SHA1: "abc", Type: lxdImage}
	if got := aliasName(unified, "noble", "amd64"); got != "lpbuildd-abc-lxd" {
		t.Errorf("got %q", got)
	}
}

func TestWhichImagesAreEvicted(t *testing.T) {
	now := time.Unix(1700000000, 0)
	image := func(name, alias, property string, age time.Duration) api.Image {
		i := api.Image{Fingerprint: name, UploadedAt: now.Add(-100 * time.Hour), LastUsedAt: now.Add(-age)}
		if alias != "" {
			i.Aliases = []api.ImageAlias{{Name: alias}}
		}
		if property != "" {
			i.Properties = map[string]string{imageProperty: property}
		}
		return i
	}
	young := image("young", "", "lpbuildd-z", 0)
	young.UploadedAt = now
	list := []api.Image{
		image("a", "lpbuildd-a", "lpbuildd-a", 3*time.Hour), image("b", "lpbuildd-b", "", time.Hour),
		image("c", "lpbuildd-c", "", 2*time.Hour), image("used", "lpbuildd-d", "", 90*time.Hour),
		image("theirs", "debian/12", "", 90*time.Hour), image("nameless", "", "", 90*time.Hour),
		image("half", "", "lpbuildd-y", 90*time.Hour), young,
	}
	used := map[string]bool{"used": true}
	for _, tt := range []struct {
		what   string
		number int
		age    time.Duration
		want   string
	}{
		{"all are kept", 4, 0, "half"},
		{"the least recently used goes first", 3, 0, "half a"},
		{"one in use counts, and stays", 1, 0, "half b c a"},
		{"none is kept", 0, 0, "half b c a"},
		{"age", 10, 150 * time.Minute, "half a"},
	} {
		if got := evictable(list, used, tt.number, tt.age, now); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %v, want %s", tt.what, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	if got, want := hostsFile("127.0.0.1\tlocalhost\n", "example", "example.buildd"),
		"127.0.0.1\tlocalhost\n\n127.0.1.1\texample.buildd example\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got, want := hostsFile("", "h", "h"), fallbackHosts+"\n127.0.1.1\th h\n"; got != want {
		t.Errorf("got %q", got)
	}
	if got := hostsFile("no newline", "h", "h"); !strings.HasPrefix(got, "no newline\n\n127") {
		t.Errorf("got %q", got)
	}
}

func TestUpstartOverride(t *testing.T) {
	job := "start on mounted\n  script\n    [ -e /dev/shm ] || ln -s /run/shm /dev/shm\n    /sbin/MAKEDEV std fd ppp tun\nend script\nexec true\n"
	want := "  script\n    [ -e /dev/shm ] || ln -s /run/shm /dev/shm\n    : # /sbin/MAKEDEV std fd ppp tun\nend script\n"
	if got := upstartOverride(job); got != want {
		t.Errorf("got %q", got)
	}
	if got := upstartOverride("exec /sbin/MAKEDEV\n"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestTheSnapOfLXDIsSetUpOnce(t *testing.T) {
	dir := t.TempDir()
	used, socket := filepath.Join(dir, "used"), filepath.Join(dir, "socket")
	for _, path := range []string{filepath.Join(used, "server.key"), socket} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what, engine, state string
		incus               []string
		want                bool
	}{
		{"LXD is wanted", LXD, dir, []string{socket}, true},
		{"LXD is wanted and set up", LXD, used, nil, false},
		{"nothing else is there", Auto, dir, []string{filepath.Join(dir, "none")}, true},
		{"Incus is there", Auto, dir, []string{filepath.Join(dir, "none"), socket}, false},
	} {
		if got := isFresh(tt.engine, tt.state, tt.incus); got != tt.want {
			t.Errorf("%s: got %v", tt.what, got)
		}
	}
}

func TestResolvers(t *testing.T) {
	host, _ := addresses()
	for _, tt := range []struct {
		what, text string
		bridge     netip.Prefix
		want       string
	}{
		{"others stay", "search x\nnameserver 192.0.2.1\noptions edns0\n", host, "search x\nnameserver 192.0.2.1\noptions edns0\n"},
		{"loopback is replaced", "nameserver 127.0.0.53\nnameserver ::1\nsearch x", host, "search x\nnameserver 10.10.10.1\n"},
		{"a mixture loses loopback", "nameserver 127.0.0.1\nnameserver 192.0.2.1\n", host, "nameserver 192.0.2.1\n"},
		{"nothing is something", "", host, "nameserver 10.10.10.1\n"},
		{"without a bridge there is none", "nameserver 127.0.0.1\n", netip.Prefix{}, ""},
	} {
		if got := resolvConf(tt.text, tt.bridge); got != tt.want {
			t.Errorf("%s: got %q", tt.what, got)
		}
	}
}

func TestPolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy-rc.d")
	if err := os.WriteFile(path, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, code := range map[string]int{
		"": 101, "--quiet": 101, "ssh start": 101, "--quiet udev restart": 0, "-x --y snapd": 0, "snapd.seeded.service start": 0,
		"snapdx": 101, "udev.service": 0, "systemd-udevd": 0, "systemd-udevd.service": 0, "ssh udev": 101,
	} {
		var out bytes.Buffer
		err := backends.Host{}.Run(t.Context(), backends.Command{Argv: append([]string{"/bin/sh", path}, strings.Fields(args)...), Stdout: &out})
		var exit *backends.ExitError
		got := 0
		if errors.As(err, &exit) {
			got = exit.Code
		}
		if got != code || (got == 101) != (out.String() == "Not running services in chroot.\n") {
			t.Errorf("%q: got %d and %q", args, got, out.String())
		}
	}
}

func TestConfigurationsThatMakeNoSense(t *testing.T) {
	host, container := addresses()
	for _, cfg := range []Config{
		{Engine: "docker"},
		{Bridge: "br"},
		{Bridge: "br", HostAddress: host},
		{ClientCert: "/c"},
		{ClientKey: "/k"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	if _, err := New(Config{Bridge: "br", HostAddress: host, Address: container, Arch: "amd64"}); err != nil {
		t.Error(err)
	}
}

func FuzzStreamFindsTheMarkerInAnyChunks(f *testing.F) {
	f.Add([]byte("output"), []byte("rest"), 3, uint8(0))
	f.Add([]byte("NON"), []byte(""), 1, uint8(137))
	f.Add([]byte("NONCENONCE"), []byte("NONCE 5\n"), 2, uint8(1))
	f.Fuzz(func(t *testing.T, before, after []byte, size int, code uint8) {
		const nonce = "NONCE-OF-A-COMMAND"
		if bytes.Contains(before, []byte(nonce)) || size <= 0 {
			return
		}
		var out bytes.Buffer
		s := newStream(&out, nonce)
		data := slices.Concat(before, []byte(nonce+" "+strconv.Itoa(int(code))+"\n"), after)
		for chunk := range slices.Chunk(data, size) {
			if n, err := s.Write(chunk); n != len(chunk) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(chunk), err)
			}
		}
		select {
		case <-s.ended:
		default:
			t.Fatal("it has not ended")
		}
		if got, marked, err := s.result(); got != int(code) || !marked || err != nil || !bytes.Equal(out.Bytes(), before) {
			t.Errorf("got %q, code %d, %v, %v", out.Bytes(), got, marked, err)
		}
	})
}

func TestStreamWithoutMarkerGivesEverything(t *testing.T) {
	var out bytes.Buffer
	s := newStream(&out, "NONCE")
	for _, part := range []string{"some NON", "SENSE NONCE 12"} {
		if _, err := s.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.finish(); err != nil || out.String() != "some NONSENSE NONCE 12" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// TestStreamHoldsLittleBack: a process that has found out the marker cannot make
// us keep what it writes.
func TestStreamHoldsLittleBack(t *testing.T) {
	var out bytes.Buffer
	s := newStream(&out, "NONCE")
	for range 100 {
		if _, err := s.Write([]byte("NONCE and no end")); err != nil {
			t.Fatal(err)
		}
	}
	<-s.ended
	if code, marked, err := s.result(); code == 0 || !marked || err != nil || len(s.held) > 50 || out.Len() > 0 {
		t.Errorf("code %d, %v, %v, %d bytes held, %q passed on", code, marked, err, len(s.held), out.String())
	}
}

func TestStreamReportsABrokenDestination(t *testing.T) {
	want := errors.New("full")
	s := newStream(broken{want}, "NONCE")
	if _, err := s.Write([]byte("x")); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	<-s.ended
	if _, _, err := s.result(); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// TestSourcesThatAreCutShortAreErrors: only their end is an end.
func TestSourcesThatAreCutShortAreErrors(t *testing.T) {
	const text = "some text"
	for _, size := range []int{1, 4, len(text), 100} {
		for _, want := range []error{io.EOF, io.ErrUnexpectedEOF} {
			r := iotest.OneByteReader(io.MultiReader(strings.NewReader(text), iotest.ErrReader(want)))
			var got []byte
			var err error
			for buf := make([]byte, size); err == nil; {
				var n int
				n, err = fillBuffer(r, buf)
				got = append(got, buf[:n]...)
			}
			if !errors.Is(err, want) || string(got) != text {
				t.Errorf("%d bytes at a time: %q, %v, want %v", size, got, err, want)
			}
		}
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }
