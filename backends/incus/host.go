package incus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

const (
	// seedTime is how long snapd may take to set itself up after the first boot.
	// Slow machines need minutes.
	seedTime     = 5 * time.Minute
	hostNameTime = 10 * time.Second
	// snapLXD is where the snap of LXD keeps its state.
	snapLXD = "/var/snap/lxd/common/lxd"
	// containerCLI lists what a container needs of the host's NVIDIA driver.
	containerCLI = "/snap/lxd/current/bin/nvidia-container-cli.real"
)

// machine is the one of the builder.
type machine struct {
	cfg  Config
	host backends.Runner
}

// prepareSnap waits until the snap of LXD is ready, and sets it up if nobody
// has (spec: backends.md section 4). Without that snap it does nothing.
func (m machine) prepareSnap(ctx context.Context) error {
	if m.cfg.Remote != "" || m.cfg.Engine == Incus || m.cfg.Socket != "" && m.cfg.Socket != snapSocket {
		return nil
	}
	if _, err := os.Stat("/snap/lxd"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	timed, cancel := context.WithTimeoutCause(ctx, seedTime, fmt.Errorf("snapd was not ready after %v", seedTime))
	defer cancel()
	err := m.onHost(timed, "snap", "wait", "system", "seed.loaded")
	if err == nil && isFresh(m.cfg.Engine, snapLXD, sockets(Incus)) {
		err = m.onHost(timed, "lxd", "init", "--auto")
	}
	if err == nil || ctx.Err() != nil {
		return endedOr(ctx, err)
	}
	return &verdict.HostFault{Err: fmt.Errorf("cannot prepare LXD: %w", err), Advice: "Check the snaps of the builder (snap changes, snap list)."}
}

// isFresh tells whether the snap of LXD, whose state is in a folder, is what is
// going to be used, and was never set up. Where Incus is, auto takes that.
func isFresh(engine, state string, incus []string) bool {
	exists := func(path string) bool {
		_, err := os.Stat(path)
		return !errors.Is(err, fs.ErrNotExist)
	}
	if engine == Auto && slices.ContainsFunc(incus, exists) {
		return false
	}
	return !exists(filepath.Join(state, "server.key"))
}

func (m machine) onHost(ctx context.Context, argv ...string) error {
	return m.host.Run(ctx, backends.Command{Argv: argv, Env: []string{"PATH=" + backends.SearchPath + ":/snap/bin"}})
}

// hostNames are the short and the full name of the builder.
func (m machine) hostNames(ctx context.Context) (hostname, fqdn string, err error) {
	hostname, err = os.Hostname()
	if err != nil {
		return "", "", verdict.MarkHostFault(fmt.Errorf("cannot tell the name of the host: %w", err))
	}
	timed, cancel := context.WithTimeout(ctx, hostNameTime)
	defer cancel()
	out, err := backends.Output(timed, m.host, backends.Command{Argv: []string{"hostname", "--fqdn"}})
	if ctx.Err() != nil {
		return "", "", context.Cause(ctx)
	}
	// A machine need not have a full name.
	if fqdn = strings.TrimSpace(string(out)); err != nil || fqdn == "" || strings.ContainsAny(fqdn, " \t\n") {
		fqdn = hostname
	}
	return hostname, fqdn, nil
}

// graphicsFiles lists the files and devices of the host that the constraint
// gpu-nvidia asks for.
func (m machine) graphicsFiles(ctx context.Context) ([]string, error) {
	if !slices.Contains(m.cfg.Constraints, "gpu-nvidia") {
		return nil, nil
	}
	if m.cfg.Remote != "" {
		return nil, &verdict.HostFault{
			Err:    errors.New("cannot use the graphics processor: the containers of this builder are on another machine"),
			Advice: "Take the constraint gpu-nvidia from the builder, or use the engine of its own machine.",
		}
	}
	out, err := backends.Output(ctx, m.host, backends.Command{
		Argv: []string{containerCLI, "list"}, Env: []string{"LD_LIBRARY_PATH=/snap/lxd/current/lib"},
	})
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, &verdict.HostFault{
			Err:    fmt.Errorf("cannot list the files of the graphics driver: %w", err),
			Advice: "Install the NVIDIA driver and the LXD snap, or take the constraint gpu-nvidia from the builder.",
		}
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"), nil
}

// mapperScript makes nodes for the device mapper, which udev does not do in a
// container. A kernel without it needs none.
const mapperScript = `major=$(sed -n 's/^ *\([0-9][0-9]*\) device-mapper$/\1/p' /proc/devices)
for n in 0 1 2 3 4 5 6 7; do
    [ -z "$major" ] || [ -e /dev/dm-$n ] || mknod -m 0660 /dev/dm-$n b "$major" $n || exit 1
done
`

// deviceScript makes device nodes in the running container (spec: backends.md
// section 8).
func deviceScript(graphics []string) string {
	var script strings.Builder
	script.WriteString(mapperScript)
	for _, path := range graphics {
		var st unix.Stat_t
		if !strings.HasPrefix(path, "/dev/") || unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			continue
		}
		quoted := backends.Quote(path)
		fmt.Fprintf(&script, "[ -e %s ] || mknod -m 0%o %s c %d %d || exit 1\n",
			quoted, st.Mode&0o777, quoted, unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	if len(graphics) > 0 {
		script.WriteString("/sbin/ldconfig || exit 1\n")
	}
	return script.String()
}
