//go:build integration

package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// inside is set in the process that has a network namespace of its own.
const inside = "LPBUILDD_TEST_BRIDGE_INSIDE"

// TestMain runs the tests in a network namespace of their own: they change
// firewall rules and forwarding.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" || os.Geteuid() != 0 {
		os.Exit(m.Run())
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1))
	case err != nil:
		fmt.Fprintln(os.Stderr, "cannot run the tests in a network namespace:", err)
		os.Exit(1)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getenv(inside) == "" {
		t.Skip("needs root, for a network namespace and firewall rules")
	}
	for _, program := range []string{"ip", "iptables", "nft", "dnsmasq"} {
		if !installed(program) {
			t.Skipf("needs the program %s", program)
		}
	}
	sh(t, "ip link set lo up")
}

func sh(t *testing.T, script string) string {
	t.Helper()
	out, err := run(context.Background(), backends.Host{}, "", "sh", "-c", script)
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return string(out)
}

// within runs f on a thread that is in the network namespace ns; -1 is a new
// one. The thread ends with it.
func within(t *testing.T, ns int, f func() error) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		var err error
		if ns < 0 {
			err = unix.Unshare(unix.CLONE_NEWNET)
		} else {
			err = unix.Setns(ns, unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// machine makes a network namespace that is connected to ours by a cable, whose
// end here is called link, and there eth0.
func machine(t *testing.T, link string, address netip.Prefix, gateway netip.Addr) (ns int) {
	t.Helper()
	within(t, -1, func() (err error) {
		ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	})
	sh(t, fmt.Sprintf("ip link add dev %s type veth peer name eth0 netns /proc/%d/fd/%d", link, os.Getpid(), ns))
	route := "true"
	if gateway.IsValid() {
		route = "ip route add default via " + gateway.String()
	}
	within(t, ns, func() error {
		_, err := run(context.Background(), backends.Host{}, "", "sh", "-c", fmt.Sprintf(
			"ip addr add %s dev eth0 && ip link set eth0 up && ip link set lo up && %s", address, route))
		return err
	})
	t.Cleanup(func() {
		_ = unix.Close(ns)
		_, _ = run(context.Background(), backends.Host{}, "", "ip", "link", "delete", "dev", link)
	})
	return ns
}

// internet is a host beyond ours that tells its callers who they are.
func internet(t *testing.T) (address string) {
	t.Helper()
	ns := machine(t, "uplink", netip.MustParsePrefix("198.51.100.2/24"), netip.Addr{})
	sh(t, "ip addr add 198.51.100.1/24 dev uplink; ip link set uplink up")
	var server net.Listener
	within(t, ns, func() (err error) {
		server, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp4", "198.51.100.2:8000")
		return err
	})
	t.Cleanup(func() { _ = server.Close() })
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = io.WriteString(conn, host)
			_ = conn.Close()
		}
	}()
	return server.Addr().String()
}

// read connects from a machine and returns what it is told.
func read(t *testing.T, ns int, address string) string {
	t.Helper()
	var said []byte
	within(t, ns, func() error {
		conn, err := net.DialTimeout("tcp4", address, 2*time.Minute)
		if err != nil {
			return err
		}
		said, err = io.ReadAll(conn)
		return errors.Join(err, conn.Close())
	})
	return string(said)
}

// state is everything about the network that Start may change, but for
// forwarding and what the iptables programs make of empty tables.
func state(t *testing.T) string {
	t.Helper()
	rules := sh(t, "iptables-save | sed 's/\\[.*\\]//; /^#/d; /^:.* ACCEPT/d; /^\\*/d; /^COMMIT/d'")
	native := sh(t, "nft list ruleset | grep lpbuildd || true")
	return rules + native + processes(t) + sh(t, "ip -oneline link | cut -d: -f2; ip -oneline -4 addr | tr -s ' ' | cut -d' ' -f2-4")
}

// processes lists the DNS servers.
func processes(t *testing.T) (found string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, _ := os.ReadFile(file) // of a process that may have ended
		argv := strings.Split(string(data), "\x00")
		if argv[0] == "dnsmasq" && slices.Contains(argv, "--interface=lpbuilddbr0") {
			found += file + "\n"
		}
	}
	return found
}

func TestContainersGetOutWhateverTheHostsFirewallIs(t *testing.T) {
	needRoot(t)
	drop := "iptables -A INPUT -i lo -j ACCEPT; iptables -P FORWARD DROP; iptables -P INPUT DROP"
	undrop := "iptables -D INPUT -i lo -j ACCEPT; iptables -P FORWARD ACCEPT; iptables -P INPUT ACCEPT"
	for _, c := range []struct{ name, kind, before, after string }{
		{"iptables", "iptables", "true", "true"},
		{"nftables", "nftables", "true", "true"},
		{"iptables that drop", "iptables", drop, undrop},
		{"iptables that drop, and we use nftables", "auto", drop, undrop},
		{
			"nftables that drop", "auto",
			`nft 'table inet host {
				chain passing { type filter hook forward priority 0; policy drop; }
				chain coming { type filter hook input priority 10; policy accept; iif lo accept; reject; }
			}'`,
			"nft delete table inet host",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			address := internet(t)
			sh(t, c.before)
			t.Cleanup(func() { sh(t, c.after) })
			checkOneLife(t, Config{Name: "lpbuilddbr0", Firewall: c.kind, Host: backends.Host{}, Ports: []uint16{8222}}, address)
		})
	}
}

func checkOneLife(t *testing.T, config Config, address string) {
	t.Helper()
	before := state(t)
	var entries []string
	config.Record = func(kind, name string) error { entries = append(entries, "+"+kind+" "+name); return nil }
	config.Done = func(kind, name string) error { entries = append(entries, "-"+kind+" "+name); return nil }
	bridge, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	stop := func() {
		if err := bridge.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)

	container := machine(t, "veth9", config.ContainerAddress(), config.HostAddress().Addr())
	sh(t, "ip link set veth9 master lpbuilddbr0; ip link set veth9 up")
	if got := read(t, container, address); got != "198.51.100.1" {
		t.Errorf("the world sees the container as %q, want the host's address", got)
	}
	checkResolves(t, container, config.HostAddress().Addr())
	checkPort(t, container, netip.AddrPortFrom(config.HostAddress().Addr(), 8222))

	if _, err := Start(t.Context(), config); err == nil || !strings.Contains(err.Error(), "in use by veth9") {
		t.Errorf("a second builder with the same name gets %v, want to hear that the bridge is in use", err)
	}
	sh(t, "ip link delete dev veth9")
	stop()
	stop()
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	if want := []string{"+bridge lpbuilddbr0", "-bridge lpbuilddbr0", "-bridge lpbuilddbr0"}; !slices.Equal(entries, want) {
		t.Errorf("the ledger got %q, want %q", entries, want)
	}
}

// checkResolves asks for a name over UDP.
func checkResolves(t *testing.T, ns int, server netip.Addr) {
	t.Helper()
	// A query for localhost, type A, class IN: dnsmasq knows /etc/hosts.
	query := []byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x09localhost\x00\x00\x01\x00\x01")
	within(t, ns, func() error {
		conn, err := net.Dial("udp4", netip.AddrPortFrom(server, 53).String())
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := conn.Write(query); err != nil {
			return err
		}
		answer := make([]byte, 512)
		n, err := conn.Read(answer)
		if err == nil && (n < 12 || answer[7] == 0 || !strings.HasSuffix(string(answer[:n]), "\x7f\x00\x00\x01")) {
			err = fmt.Errorf("no address in the answer %q", answer[:n])
		}
		return err
	})
}

// checkPort connects to a server of the host's on the bridge's address.
func checkPort(t *testing.T, ns int, address netip.AddrPort) {
	t.Helper()
	server, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	within(t, ns, func() error {
		conn, err := net.DialTimeout("tcp4", address.String(), 2*time.Minute)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func TestCleanUndoesACrashAtAnyPoint(t *testing.T) {
	needRoot(t)
	config := Config{Name: "lpbuilddbr0", Host: backends.Host{}}
	before := state(t)
	for name, leave := range map[string]func(*testing.T){
		"nothing yet":       func(*testing.T) {},
		"the bridge":        func(t *testing.T) { sh(t, "ip link add dev lpbuilddbr0 type bridge") },
		"rules, no bridge":  func(t *testing.T) { openAll(t, config) },
		"bridge and rules":  func(t *testing.T) { sh(t, "ip link add dev lpbuilddbr0 type bridge"); openAll(t, config) },
		"rules added twice": func(t *testing.T) { openAll(t, config); openAll(t, config) },
	} {
		t.Run(name, func(t *testing.T) {
			leave(t)
			for range 2 {
				if err := Clean(t.Context(), backends.Host{}, config.Name); err != nil {
					t.Fatal(err)
				}
			}
			if after := state(t); after != before {
				t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

func openAll(t *testing.T, config Config) {
	t.Helper()
	if err := errors.Join(iptables{}.open(t.Context(), config), nftables{}.open(t.Context(), config)); err != nil {
		t.Fatal(err)
	}
}

func TestStartRepairsWhatACrashLeft(t *testing.T) {
	needRoot(t)
	config := Config{Name: "lpbuilddbr0", Host: backends.Host{}}
	before := state(t)
	sh(t, "ip link add dev lpbuilddbr0 type bridge; ip addr add 10.10.10.1/24 dev lpbuilddbr0")
	openAll(t, config)
	bridge, err := Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestTwoBuildersAtOnce(t *testing.T) {
	needRoot(t)
	before := state(t)
	var all []*Bridge
	for _, instance := range []string{"default", "second"} {
		bridge, err := Start(t.Context(), Config{Name: NameFor(instance), Subnet: SubnetFor(instance), Host: backends.Host{}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bridge)
	}
	if err := all[0].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(state(t), NameFor("second")) || !exists(NameFor("second")) {
		t.Error("stopping one builder's network took that of the other")
	}
	if err := all[1].Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestCollisionNamesTheOtherInterfaceAndTheKey(t *testing.T) {
	needRoot(t)
	sh(t, "ip link add dev other type bridge; ip addr add 10.10.10.77/24 dev other; ip link set other up")
	t.Cleanup(func() { sh(t, "ip link delete dev other") })
	_, err := Start(t.Context(), Config{Name: "lpbuilddbr0", Host: backends.Host{}})
	var fault *verdict.HostFault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "other") || !strings.Contains(fault.Advice, "subnet") {
		t.Fatalf("got %v, want a host fault that names the interface and the key", err)
	}
	if exists("lpbuilddbr0") {
		t.Error("the bridge was made in spite of that")
	}
}

func TestAFailedStartLeavesNothing(t *testing.T) {
	needRoot(t)
	before := state(t)
	_, err := Start(t.Context(), Config{Name: "lpbuilddbr0", Host: backends.Host{}, DNSUser: "no-such-user-at-all"})
	var fault *verdict.HostFault
	if !errors.As(err, &fault) || !strings.Contains(err.Error(), "no-such-user-at-all") {
		t.Errorf("got %v, want a host fault with what dnsmasq said", err)
	}
	if after := state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

func TestADeadDNSServerDoesNotDisturbStop(t *testing.T) {
	needRoot(t)
	bridge, err := Start(t.Context(), Config{Name: "lpbuilddbr0", Host: backends.Host{}})
	if err != nil {
		t.Fatal(err)
	}
	bridge.dns.stop() // as an abort kills it
	if err := bridge.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
