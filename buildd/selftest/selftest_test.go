package selftest

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"lpbuildd/buildd"
	"lpbuildd/buildd/job"
	"lpbuildd/rpc"
)

// newTester is a tester of a builder that belongs to whoever runs this.
func newTester(t *testing.T) *tester {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	b := Builder{
		Program: "/bin/false", Verbs: []string{"supervise", "stock"}, Owner: me, URL: "http://127.0.0.1:1", Arch: "amd64",
		Settings: job.Settings{
			Home: t.TempDir(), FileCache: t.TempDir(), SharePath: t.TempDir(), User: me.Username,
			Container: job.Container{Instance: "default", Socket: "/nonexistent", Firewall: "auto"},
		},
	}
	return &tester{Builder: b, owner: hostOf(me), now: time.Now}
}

func TestChecks(t *testing.T) {
	never := func(*testing.T, *tester) {}
	for _, tt := range []struct {
		check  string
		name   string
		change func(*testing.T, *tester)
		result Result
		text   string // in the detail or the advice
	}{
		{"build user", "that is missing", func(_ *testing.T, b *tester) { b.Settings.User = "no-such-user" }, Failed, "adduser --system --group no-such-user"},
		{"home folder", "of the daemon's user", never, OK, "belongs to"},
		{"home folder", "that is missing", func(_ *testing.T, b *tester) { b.Settings.Home += "/none" }, Failed, "install -d -o"},
		{"home folder", "that is a link", func(t *testing.T, b *tester) {
			link := filepath.Join(b.Settings.FileCache, "link")
			if err := os.Symlink(b.Settings.Home, link); err != nil {
				t.Fatal(err)
			}
			b.Settings.Home = link
		}, Failed, "is no folder"},
		{"home folder", "of somebody else", func(_ *testing.T, b *tester) { b.Owner = &user.User{Uid: "12345", Username: "else"} }, Failed, "chown else"},
		{"helpers", "of root", func(_ *testing.T, b *tester) { b.Owner = &user.User{Uid: "0"} }, OK, "not needed"},
		{"helpers", "without sudo", func(_ *testing.T, b *tester) { b.Owner, b.owner.Path = &user.User{Uid: "12345"}, "/nonexistent" }, Failed, "Install the package"},
		{"helpers", "whose socket is missing", func(_ *testing.T, b *tester) {
			b.Owner, b.Helper = &user.User{Uid: "12345"}, "/nonexistent"
		}, Failed, "systemctl start lpbuildd-helper.socket"},
		{"helpers", "whose socket is somebody else's", func(_ *testing.T, b *tester) {
			b.Owner, b.Helper = &user.User{Uid: "12345", Username: "builder"}, "/dev/null"
		}, Failed, "SocketUser="},
		{"helpers", "behind a socket", func(t *testing.T, b *tester) {
			b.Owner, b.Helper = &user.User{Uid: ownedFile(t, b.Settings.FileCache+"/socket")}, b.Settings.FileCache+"/socket"
		}, OK, "may ask at"},
		{"helpers", "that is missing", func(t *testing.T, b *tester) {
			b.Owner, b.owner.Path = &user.User{Uid: "12345", Username: "builder"}, refusing(t)
		}, Failed, "Write this into a file in /etc/sudoers.d: builder ALL=(root) NOPASSWD: /bin/false supervise, /bin/false stock"},
		{"sbuild", "that is missing", func(_ *testing.T, b *tester) { b.owner.Path = "/nonexistent" }, Failed, "sbuild"},
		{"shipped files", "that are missing", never, Failed, "builder.sharepath"},
		{"shipped files", "where they should be", func(t *testing.T, b *tester) { touch(t, b.Settings.SharePath+"/sbuildrc") }, OK, "sbuildrc"},
		{"shipped files", "and the user's own", func(t *testing.T, b *tester) { touch(t, b.Settings.Home+"/.sbuildrc") }, OK, ".sbuildrc"},
		{"disk", "that is too small", func(_ *testing.T, b *tester) { b.MinFree = 1 << 60 }, Failed, "lpbuildd gc"},
		{"disk", "that is missing", func(_ *testing.T, b *tester) { b.Settings.Home = "/nonexistent" }, Failed, "/nonexistent"},
		{"clock", "that is behind", func(_ *testing.T, b *tester) { b.now = func() time.Time { return time.Unix(1, 0) } }, Failed, "1970-01-01"},
		{"clock", "without its server", func(_ *testing.T, b *tester) { b.Settings.Site.NTPHost = "127.0.0.1" }, Warning, "builder.ntphost"},
		{"overlay", "that is not wanted", func(_ *testing.T, b *tester) { b.Settings.Overlay = "never" }, Skipped, "[chroot] overlay"},
		{"overlay", "without root", never, Skipped, "as root"},
		{"container engine", "that is missing", never, Warning, "Install LXD or Incus"},
		{"container engine", "that cannot be asked", func(_ *testing.T, b *tester) { b.Settings.Container.Socket = "/dev/null" }, Skipped, "as root"},
		{"container engine", "that does not answer", func(_ *testing.T, b *tester) { b.Settings.Container.Socket, b.Root = "/dev/null", true }, Failed, "Install LXD or Incus"},
		{"container network", "without an engine", never, Skipped, "no container engine"},
		{"container network", "that is in use", func(_ *testing.T, b *tester) {
			b.Settings.Container.Socket = "/dev/null"
			b.Settings.Container.Subnet = netip.MustParsePrefix("127.0.0.0/24")
		}, Failed, "already has 127.0.0.0/8"},
		{"daemon", "that does not run", never, Warning, "Start it"},
		{"daemon", "that does not run, but is wanted", func(_ *testing.T, b *tester) { b.UseDaemon = true }, Failed, "--daemon"},
		{"daemon", "that builds", func(t *testing.T, b *tester) { b.URL = serve(t, buildd.Status{State: buildd.Building}) }, OK, "BUILDING"},
		{"daemon", "that is drained", func(t *testing.T, b *tester) {
			b.URL = serve(t, buildd.Status{State: buildd.Idle, Drained: buildd.DrainedText + "; x"})
		}, OK, "is drained by its operator; x"},
		{"daemon", "that cannot write", func(t *testing.T, b *tester) {
			b.URL = serve(t, buildd.Status{State: buildd.Idle, Drained: buildd.BrokenText + ": x"})
		}, Failed, "cannot write its state: x"},
		{"build", "without an image", never, Skipped, "lpbuildd image add"},
		{"build", "through a daemon that is busy", func(t *testing.T, b *tester) {
			b.UseDaemon, b.Image, b.URL = true, "/dev/null", serve(t, buildd.Status{State: buildd.Waiting})
		}, Failed, "WAITING"},
		{"build", "through a daemon with a proxy", func(_ *testing.T, b *tester) {
			b.UseDaemon, b.Image, b.Settings.Site.AptProxy = true, "/dev/null", "http://p"
		}, Failed, "[proxy] apt"},
		{"build", "with a daemon that does not start", func(_ *testing.T, b *tester) { b.Image = "/dev/null" }, Failed, "the daemon does not start"},
	} {
		t.Run(tt.check+" "+tt.name, func(t *testing.T) {
			b := newTester(t)
			tt.change(t, b)
			var f Finding
			for _, c := range checks() {
				if c.name == tt.check {
					f = c.run(b, t.Context())
				}
			}
			if f.Result != tt.result || !strings.Contains(f.Detail+" "+f.Advice, tt.text) {
				t.Errorf("found %+v\nwant %s with %q", f, tt.result, tt.text)
			}
			if left, _ := filepath.Glob(filepath.Join(b.Settings.Home, ".selftest-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if f.Result == Failed && f.Advice == "" {
				t.Error("it does not say what to do")
			}
		})
	}
}

// refusing is a folder with a sudo that always refuses.
func refusing(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte("#!/bin/sh\necho no >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// reporter is a builder that says nothing but its status.
type reporter struct{ status buildd.Status }

func (r reporter) Info() buildd.Info { return buildd.Info{} }
func (reporter) Told(buildd.Status)  {}

func (r reporter) Status() buildd.Status                       { return r.status }
func (r reporter) ProxyInfo() (buildd.ProxyInfo, error)        { return buildd.ProxyInfo{}, nil }
func (r reporter) Abort(context.Context) error                 { return nil }
func (r reporter) Clean(context.Context) error                 { return nil }
func (r reporter) Build(context.Context, buildd.Request) error { return nil }
func (r reporter) EnsurePresent(context.Context, string, buildd.Source) (buildd.Presence, error) {
	return buildd.Presence{}, nil
}

func serve(t *testing.T, st buildd.Status) string {
	t.Helper()
	s := httptest.NewServer(rpc.NewServer(reporter{st}, reporter{st}, http.NotFoundHandler(), slog.New(slog.DiscardHandler)))
	t.Cleanup(s.Close)
	return s.URL
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	b := newTester(t).Builder
	b.Settings.User = "no-such-user"
	var names []string
	if Run(t.Context(), b, func(f Finding) { names = append(names, f.Name) }) {
		t.Error("a builder without its user is sound")
	}
	if len(names) != len(checks()) {
		t.Errorf("checked were %q", names)
	}
}

func TestRunStopsWhenItIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(nil)
	var found []Finding
	sound := Run(ctx, newTester(t).Builder, func(f Finding) { found = append(found, f) })
	if sound || len(found) != 1 || found[0].Detail != "interrupted" {
		t.Errorf("sound is %v, found %+v", sound, found)
	}
}

// timeServer answers each question with a time that is off by so much.
func timeServer(t *testing.T, off time.Duration) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		packet := make([]byte, 48)
		for {
			_, peer, err := conn.ReadFrom(packet)
			if err != nil {
				return
			}
			now := time.Now().Add(off)
			packet[1] = 1
			binary.BigEndian.PutUint32(packet[40:], uint32(now.Unix()-ntpEpoch))
			binary.BigEndian.PutUint32(packet[44:], uint32(now.Nanosecond()*(1<<32)/int(time.Second)))
			_, _ = conn.WriteTo(packet, peer)
		}
	}()
	return conn.LocalAddr().String()
}

func TestClockAgainstAServer(t *testing.T) {
	for off, want := range map[time.Duration]Result{0: OK, -20 * time.Second: Warning, time.Hour: Failed} {
		if f := newTester(t).against(t.Context(), timeServer(t, off)); f.Result != want {
			t.Errorf("%v off: %+v, want %s", off, f, want)
		}
	}
}

func TestTheShelfServesWhatIsOnIt(t *testing.T) {
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, []byte("image"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := newShelf(t.Context(), map[string][]byte{"/archive/Release": []byte("release")}, image)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for path, want := range map[string]int{"/image": 200, "/archive/./Release": 200, "/archive/": 404, "/../etc/passwd": 404} {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

// ownedFile makes a file, and returns the uid of its owner, who is not root in any
// case.
func ownedFile(t *testing.T, path string) string {
	t.Helper()
	touch(t, path)
	if os.Geteuid() != 0 {
		return strconv.Itoa(os.Geteuid())
	}
	const nobody = 65534
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(nobody)
}
