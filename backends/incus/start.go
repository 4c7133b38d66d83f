package incus

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// startTime is how long a container may take to run, and then how long until it
// is ready (spec: backends.md section 8).
const startTime = 60 * time.Second

// filesRest lets the engine notice that nobody looks at the container's files
// any more. If it has to start the container before, it waits a second.
const filesRest = 50 * time.Millisecond

// launcher makes the container and starts it.
type launcher struct {
	*guest
	machine  machine
	images   *images
	network  guestNetwork
	files    guestFiles
	commands commands
}

// start makes the container, sets up its files, and starts it.
func (l launcher) start(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if l.server == nil {
		return fmt.Errorf("cannot start the container %s: it was not created", l.name)
	}
	graphics, err := l.machine.graphicsFiles(ctx)
	if err != nil {
		return err
	}
	if err := l.network.create(ctx); err != nil {
		return err
	}
	if err := l.makeProfile(ctx, graphics); err != nil {
		return err
	}
	if err := l.makeContainer(ctx); err != nil {
		return err
	}
	if err := l.files.prepare(ctx, l.machine); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(filesRest):
	}
	script := deviceScript(graphics)
	if l.cfg.Arch == "armhf" {
		// Where lxcfs shows the processors of the wrong machine.
		script += "umount /proc/cpuinfo 2>/dev/null || :\n"
	}
	return l.boot(ctx, script)
}

// makeProfile makes the profile anew.
func (l launcher) makeProfile(ctx context.Context, graphics []string) error {
	if err := l.begin(KindProfile); err != nil {
		return err
	}
	if err := deleteProfile(ctx, l.server, l.name); err != nil {
		return err
	}
	err := tell(ctx, l.server, "create the profile", func(e engine) error {
		return e.CreateProfile(profileFor(l.cfg, l.name, l.server.major, graphics))
	})
	if api.StatusErrorCheck(err) {
		return &verdict.HostFault{Err: err, Advice: "Check the storage pool and the bridge in the builder's configuration."}
	}
	return err
}

// makeContainer makes the container from the image. Another builder may have
// evicted that since; then it is imported again.
func (l launcher) makeContainer(ctx context.Context) error {
	if err := l.begin(KindContainer); err != nil {
		return err
	}
	if err := deleteContainer(ctx, l.server, l.name); err != nil {
		return err
	}
	err := l.instantiate(ctx)
	for n := 1; n < createAttempts && isHiccup(err) && ctx.Err() == nil; n++ {
		l.cfg.Log.Warn("Creating the container again", "error", err)
		if err := deleteContainer(ctx, l.server, l.name); err != nil {
			return err
		}
		err = l.instantiate(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	before := l.images.fingerprint
	list, listErr := ask(ctx, l.server, "list images", func(e engine) ([]api.Image, error) { return e.GetImages() })
	if listErr != nil || withAlias(list, aliasName(l.images.image, l.cfg.Series, l.cfg.Arch)) == before {
		return err
	}
	l.cfg.Log.Warn("Image vanished", "fingerprint", before, "error", err)
	if err = l.images.use(ctx, l.images.image); err != nil {
		return err
	}
	return l.instantiate(ctx)
}

// createAttempts is how often the container is created, if hiccups prevent it.
const createAttempts = 3

// isHiccup tells whether the engine gave up because its own database was slow,
// as it is when the disk is busy.
func isHiccup(err error) bool {
	if err == nil {
		return false
	}
	return strings.Contains(err.Error(), "database is locked")
}

func (l launcher) instantiate(ctx context.Context) error {
	const what = "create the container"
	profiles := []string{l.name}
	if l.cfg.Bridge == "" {
		profiles = []string{"default", l.name}
	}
	op, err := ask(ctx, l.server, what, func(e engine) (client.Operation, error) {
		return e.CreateInstance(api.InstancesPost{
			Name: l.name, Type: api.InstanceTypeContainer,
			InstancePut: api.InstancePut{Profiles: profiles},
			Source:      api.InstanceSource{Type: "image", Fingerprint: l.images.fingerprint},
		})
	})
	if err != nil {
		return err
	}
	l.setPending(op.Get().ID)
	if _, err := l.server.wait(ctx, what, op.Get().ID, importTime); err != nil {
		return err
	}
	l.setPending("")
	return nil
}

// boot starts the container and returns when it is ready. The script runs in it
// then.
func (l launcher) boot(ctx context.Context, script string) error {
	err := do(ctx, l.server, "start the container", startTime, func(e engine) (client.Operation, error) {
		return e.UpdateInstanceState(l.name, api.InstanceStatePut{Action: "start", Timeout: -1}, "")
	})
	if err != nil {
		return err
	}
	if state, err := containerState(ctx, l.server, l.name); err != nil || state != api.Running {
		if err == nil {
			err = fmt.Errorf("Container failed to start within %d seconds", int(startTime.Seconds()))
		}
		return err
	}
	return l.awaitReady(ctx, script)
}

// readyScript waits until what a build needs is there: the default route, and
// with systemd the end of early boot, since that empties /tmp and makes devices.
// Services that failed do not matter. $1 is the number of attempts, $2 tells
// whether there is to be a route.
const readyScript = `i=0
while [ $i -lt $1 ]; do
    i=$((i + 1)); missing=
    if [ -n "$2" ] && ! grep -q '^[^[:space:]]*[[:space:]]00000000[[:space:]]' /proc/net/route; then
        missing="its network is not up"
    elif [ -d /run/systemd/system ] || [ "$(cat /proc/1/comm)" = systemd ]; then
        case $(systemctl is-system-running 2>/dev/null) in
        starting | running | degraded | maintenance) ;;
        *) missing="systemd is still starting" ;;
        esac
    fi
    [ -n "$missing" ] || break
    sleep 0.05
done
[ -z "$missing" ] || { echo "$missing" >&2; exit 1; }
`

// awaitReady waits until the container is ready, and prepares what it can only
// while it runs, all by one command.
func (l launcher) awaitReady(ctx context.Context, script string) error {
	timed, cancel := context.WithTimeoutCause(ctx, startTime+callTime, errDeadline)
	defer cancel()
	attempts, route := fmt.Sprint(int(startTime.Seconds()*20)), ""
	if l.cfg.Bridge != "" {
		route = "yes"
	}
	var said bytes.Buffer
	err := l.commands.attempt(timed, backends.Command{
		Argv:   []string{"/bin/sh", "-c", readyScript + script, "sh", attempts, route},
		Stdout: &said, Stderr: &said,
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("cannot use the container %s: %w: %s", l.name, err, lastLine(said.String()))
	}
	return err
}

// lastLine is the last line that is not empty.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// ensureRunning starts the container again after KillProcesses.
func (l launcher) ensureRunning(ctx context.Context) error {
	if !l.revive() || !l.has(KindContainer) {
		return nil
	}
	return l.boot(ctx, "")
}

// resume starts the container, unless it runs already.
func (l launcher) resume(ctx context.Context) error {
	state, err := containerState(ctx, l.server, l.name)
	if err != nil {
		return err
	}
	if state == api.Running {
		return nil
	}
	return l.boot(ctx, "")
}
