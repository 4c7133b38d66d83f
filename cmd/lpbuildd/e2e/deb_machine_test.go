//go:build integration

package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/buildd"
	"lpbuildd/rpc/client"
)

const (
	// machineName is that of the container, of its image and in that of its bridge.
	machineName = "lpbuildd-e2e-machine"
	// machinePatience is how long one command in the machine may take.
	machinePatience = 20 * time.Minute
)

// machine is a Debian machine with systemd, on which the package is installed:
// a container of LXD or Incus.
type machine struct {
	t       *testing.T
	cli     string // the engine's command-line client
	address netip.Addr
}

// newMachine starts a machine from the image of .ci/machine-image. It ends with
// the test.
func newMachine(t *testing.T) *machine {
	t.Helper()
	needRoot(t)
	m := &machine{t: t, cli: engineCLI(t)}
	network := bridge.Config{
		Name: bridge.NameFor(machineName), Subnet: netip.MustParsePrefix("10.211.63.0/24"), Host: backends.Host{},
	}
	m.address = network.ContainerAddress().Addr()
	m.remove() // of a test that was killed
	link, err := bridge.Start(t.Context(), network)
	must(t, err)
	t.Cleanup(func() {
		if err := link.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(m.remove) // before its bridge, which its interface hangs on
	m.engine("image", "import", machineImage(t), "--alias", machineName)
	raw := fmt.Sprintf("lxc.apparmor.profile=unconfined\nlxc.cap.drop=\nlxc.cap.drop=sys_time sys_module\n"+
		"lxc.net.0.ipv4.address=%s\nlxc.net.0.ipv4.gateway=%s\n", network.ContainerAddress(), network.HostAddress().Addr())
	m.engine("init", machineName, machineName, "--storage", "btrfs",
		"--config", "security.privileged=true", "--config", "security.nesting=true", "--config", "raw.lxc="+raw)
	m.engine("config", "device", "add", machineName, "eth0", "nic", "nictype=bridged", "parent="+network.Name, "name=eth0")
	m.write("/etc/resolv.conf", "nameserver "+network.HostAddress().Addr().String()+"\n")
	m.engine("start", machineName)
	m.booted()
	return m
}

// engineCLI is the client of a container engine that runs.
func engineCLI(t *testing.T) string {
	t.Helper()
	for engine, cli := range map[string]string{"lxd": "lxc", "incus": "incus"} {
		conn, err := net.Dial("unix", "/var/lib/"+engine+"/unix.socket")
		if err == nil {
			_ = conn.Close()
			return cli
		}
	}
	t.Skip("needs LXD or Incus, which .ci/containers starts")
	return ""
}

func machineImage(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), inTree(".ci/machine-image"), "--path").Output()
	must(t, err)
	path := strings.TrimSpace(string(out))
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs the image that .ci/machine-image makes: %v", err)
	}
	return path
}

// within is the same machine for a part of the test.
func (m *machine) within(t *testing.T) *machine {
	part := *m
	part.t = t
	return &part
}

// remove takes the machine away, and what a test that was killed has left.
func (m *machine) remove() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.t.Context()), patience)
	defer cancel()
	for _, args := range [][]string{{"delete", "--force", machineName}, {"image", "delete", machineName}} {
		_ = exec.CommandContext(ctx, m.cli, args...).Run() // mostly there is none
	}
	if err := bridge.Clean(ctx, backends.Host{}, bridge.NameFor(machineName)); err != nil {
		m.t.Error(err)
	}
}

// engine asks the engine's client for something that must succeed.
func (m *machine) engine(args ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), machinePatience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, m.cli, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s %v: %v\n%s", m.cli, args, err, out)
	}
}

// booted waits until systemd has started everything.
func (m *machine) booted() {
	m.t.Helper()
	for deadline := time.Now().Add(machinePatience); time.Now().Before(deadline); <-time.After(20 * pollPause) {
		state, _ := m.try("systemctl is-system-running --wait")
		if state = strings.TrimSpace(state); state == "running" || state == "degraded" {
			return
		}
	}
	m.t.Fatal("the machine does not boot")
}

// reboot starts the machine anew, as a person would.
func (m *machine) reboot() {
	m.t.Helper()
	m.engine("restart", "--timeout", "600", machineName)
	m.booted()
}

// command is a shell command on the machine, as root.
func (m *machine) command(ctx context.Context, script string) *exec.Cmd {
	return exec.CommandContext(ctx, m.cli, "exec", machineName, "--env", "DEBIAN_FRONTEND=noninteractive",
		"--env", "HOME=/root", "--env", "LANG=C.UTF-8", "--", "sh", "-euc", script)
}

// try runs a shell command and returns what it prints.
func (m *machine) try(script string) (string, error) {
	ctx, cancel := context.WithTimeout(m.t.Context(), machinePatience)
	defer cancel()
	out, err := m.command(ctx, script).CombinedOutput()
	return string(out), err
}

// run is try for what must succeed.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.try(script)
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// expect is run for what must print a text.
func (m *machine) expect(script, text string) {
	m.t.Helper()
	if out := m.run(script); !strings.Contains(out, text) {
		m.t.Errorf("%s\nprints %q, without %q", script, out, text)
	}
}

// write makes a file on the machine, which may be stopped.
func (m *machine) write(path, content string) {
	m.t.Helper()
	local := filepath.Join(m.t.TempDir(), "file")
	must(m.t, os.WriteFile(local, []byte(content), 0o644))
	m.push(local, path)
}

// push copies a file to the machine.
func (m *machine) push(local, path string) {
	m.t.Helper()
	m.engine("file", "push", "--uid", "0", "--gid", "0", "--mode", "0644", local, machineName+path)
}

// builder is the builder at a port of the machine.
func (m *machine) builder(port int) *client.Client {
	m.t.Helper()
	client, err := client.New(fmt.Sprintf("http://%s:%d", m.address, port))
	must(m.t, err)
	m.t.Cleanup(client.Close)
	return client
}

// await polls a builder until it answers as wanted. One that does not answer at
// all may be starting.
func (m *machine) await(client *client.Client, what string, wanted func(buildd.Status) bool) buildd.Status {
	m.t.Helper()
	var last error
	for deadline := time.Now().Add(machinePatience); time.Now().Before(deadline); <-time.After(20 * pollPause) {
		ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
		st, err := client.Status(ctx)
		cancel()
		if last = err; err == nil && wanted(st) {
			return st
		}
	}
	m.t.Fatalf("not within %s: %s (%v)\n%s", machinePatience, what, last, m.journal())
	return buildd.Status{}
}

func (m *machine) awaitState(client *client.Client, state buildd.State) buildd.Status {
	m.t.Helper()
	return m.await(client, "state "+string(state), func(st buildd.Status) bool { return st.State == state })
}

// journal is what the machine's services have said.
func (m *machine) journal() string {
	out, _ := m.try("systemctl list-units --all '*lpbuildd*' '*launchpad*'; journalctl --no-pager --lines 80")
	return out
}

// job is a command on the machine that goes on while the test does other things.
type job struct {
	m    *machine
	what string
	out  bytes.Buffer
	done chan error
}

// start starts a shell command.
func (m *machine) start(script string) *job {
	m.t.Helper()
	j := &job{m: m, what: script, done: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(m.t.Context(), machinePatience)
	cmd := m.command(ctx, script)
	cmd.Stdout, cmd.Stderr = &j.out, &j.out
	must(m.t, cmd.Start())
	go func() {
		defer cancel()
		j.done <- cmd.Wait()
	}()
	return j
}

// wait waits until it has succeeded.
func (j *job) wait() {
	j.m.t.Helper()
	if err := <-j.done; err != nil {
		j.m.t.Fatalf("%s: %v\n%s\n%s", j.what, err, j.out.String(), j.m.journal())
	}
}

// files lists everything on the machine that may outlive a package.
func (m *machine) files() map[string]bool {
	m.t.Helper()
	all := map[string]bool{}
	for path := range strings.Lines(m.run("find /boot /etc /home /lib /opt /root /run /tmp /usr /var -xdev 2>/dev/null || true")) {
		all[strings.TrimSpace(path)] = true
	}
	if len(all) < 1000 {
		m.t.Fatal(errors.New("the machine has hardly any files"))
	}
	return all
}
