// Package incus runs builds in containers of LXD (5.0 and newer) or Incus (6.0
// and newer), on this machine or on another one (spec: backends.md sections 4
// to 10). On the wire this backend is called "lxd", whichever it is.
//
// Base images stay imported, under an alias that names their SHA-1, and are
// used again by later builds; see image.go. Containers are privileged: root in
// a build is as good as root on the machine that runs the container.
//
// Everything that asks the engine has a deadline. An engine that hangs or dies
// is a *verdict.HostFault.
package incus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
)

// Kinds of entries for Config.Record.
const (
	KindContainer = "container"
	KindProfile   = "profile"
	KindNetwork   = "container-network"
)

// Config says which engine to use, and how to make a container.
type Config struct {
	// Engine is "auto", "lxd" or "incus"; "" is "auto". Auto takes the first
	// socket on which somebody listens: Incus', that of the LXD snap, LXD's.
	// Nothing is taken from the environment.
	Engine string
	// Socket is the path of the engine's socket, if not the usual one.
	Socket string
	// Remote is the URL of an Incus on another machine, used instead of a
	// socket; the others are paths of PEM files: who we are, and the
	// certificate of the server unless it is signed by a known authority.
	Remote, ClientCert, ClientKey, ServerCert string
	// Pool is the storage pool, "" the one called "default". Project is the
	// project, "" the default one.
	Pool, Project string
	// Instance is the name of this builder among those that use the engine.
	// With BuildID it makes the names of the container and its profile.
	Instance string
	BuildID  string
	// BuildDir is the folder of the build on the host; Remove deletes it.
	BuildDir string
	// Series and Arch are those of the build, as Debian names them.
	Series, Arch string
	// CPUs (a number of processors, also parts of one) and Memory (bytes) are
	// what the container may use; 0 is no limit.
	CPUs   float64
	Memory int64
	// Processes is how many processes the container may have at once; 0 is no
	// limit.
	Processes int64
	// Constraints are those of the builder; "gpu-nvidia" has a meaning here.
	Constraints []string
	// Bridge is the network bridge of the container's eth0, HostAddress and
	// Address are the addresses of both ends on it. With Remote, the engine makes
	// it; otherwise it is there. Without a bridge the network is what the engine's
	// profile "default" says.
	Bridge               string
	HostAddress, Address netip.Prefix
	// MaxImages is how many imported images are kept, and MaxImageAge how
	// long since their last use; an age of 0 is for ever. Those in use are always
	// kept.
	MaxImages   int
	MaxImageAge time.Duration
	// AnswerTime is how long the engine may take to answer one request; 0 is a
	// minute.
	AnswerTime time.Duration
	// Record is called before a thing is made that outlives this process, and
	// Done when it is gone; see Clean. May be nil.
	Record, Done func(kind, name string) error
	// Notice tells the reader of the build log, by one line without newline,
	// of something unusual. May be nil.
	Notice func(line string)
	// Log is the daemon's log; nil discards.
	Log *slog.Logger
}

func (cfg Config) withDefaults() Config {
	cfg.Engine = cmp.Or(cfg.Engine, Auto)
	cfg.Pool = cmp.Or(cfg.Pool, "default")
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	ignore := func(string, string) error { return nil }
	if cfg.Record == nil {
		cfg.Record = ignore
	}
	if cfg.Done == nil {
		cfg.Done = ignore
	}
	if cfg.Notice == nil {
		cfg.Notice = func(string) {}
	}
	return cfg
}

func (cfg Config) validate() error {
	if !slices.Contains([]string{Auto, LXD, Incus}, cfg.Engine) {
		return fmt.Errorf("cannot use the container engine %q: only auto, lxd and incus are known", cfg.Engine)
	}
	if cfg.Bridge != "" && (!cfg.HostAddress.IsValid() || !cfg.Address.IsValid()) {
		return fmt.Errorf("cannot use the bridge %s without addresses", cfg.Bridge)
	}
	if (cfg.ClientCert == "") != (cfg.ClientKey == "") {
		return errors.New("cannot use a client certificate without its key, or a key without its certificate")
	}
	return nil
}

// Container implements backends.Lifecycle.
type Container struct {
	cfg         Config
	name        string
	personality []string
	// personalityErr is reported by Run, since only commands need to know.
	personalityErr error
	host           backends.Runner
	// retryDelay is the pause before the second attempt of what is tried again.
	retryDelay time.Duration

	server *server // from Create on
	image  backends.Image
	// fingerprint is that of the image, from Create on.
	fingerprint string

	mu sync.Mutex
	// made lists the kinds of what was begun to be made. Guarded by mu.
	made []string
	// pending is the operation that makes the container. Guarded by mu.
	pending string
	// killed is set while the container is stopped by KillProcesses, and kills
	// is how often that was. Guarded by mu.
	killed bool
	kills  int
}

var _ backends.Lifecycle = (*Container)(nil)

// New prepares a Container and touches nothing, not even the engine.
func New(cfg Config) (*Container, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Container{cfg: cfg, name: containerName(cfg), host: backends.Host{}, retryDelay: firstRetry}
	c.personality, c.personalityErr = backends.Personality(cfg.Arch, cfg.Series)
	return c, nil
}

// Name is the name of the container, and its host name to the engine.
func (c *Container) Name() string { return c.name }

// Create connects to the engine and imports the image, unless it has it.
func (c *Container) Create(ctx context.Context, image backends.Image) error {
	if image.Type != chrootImage && image.Type != lxdImage {
		return fmt.Errorf("Unhandled image type: %s", image.Type) // spec: backends.md section 5 fixes this text
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.prepareSnap(ctx); err != nil {
		return err
	}
	server, err := connect(ctx, c.cfg)
	if err != nil {
		return endedOr(ctx, err)
	}
	c.server, c.image = server, image
	c.fingerprint, err = c.findOrImport(ctx, image)
	return err
}

// endedOr prefers the reason why ctx ended to what came of it.
func endedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// begin records that something is about to be made.
func (c *Container) begin(kind string) error {
	if err := c.cfg.Record(kind, c.nameOf(kind)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, kind)
	return nil
}

// nameOf is the name of what a build has one of.
func (c *Container) nameOf(kind string) string {
	if kind == KindNetwork {
		return c.cfg.Bridge
	}
	return c.name
}

// has tells whether something was begun to be made and is not known to be gone.
func (c *Container) has(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.made, kind)
}

// gone records that something exists no more.
func (c *Container) gone(kind string) error {
	c.mu.Lock()
	c.made = slices.DeleteFunc(c.made, func(k string) bool { return k == kind })
	c.mu.Unlock()
	return c.cfg.Done(kind, c.nameOf(kind))
}

// KillProcesses stops the container with force, since nothing less is sure to
// end all that a build may have set up in it. A later command starts it again.
func (c *Container) KillProcesses(ctx context.Context) error {
	if !c.has(KindContainer) {
		return nil
	}
	c.mu.Lock()
	c.killed = true
	c.kills++
	c.mu.Unlock()
	return halt(ctx, c.server, c.name)
}

func (c *Container) killCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kills
}

// Stop deletes the container, with force if it runs.
func (c *Container) Stop(ctx context.Context) error {
	if !c.has(KindContainer) {
		return nil
	}
	c.mu.Lock()
	pending := c.pending
	c.mu.Unlock()
	if pending != "" {
		// Until it is made, the engine refuses to delete it. How that ends does
		// not matter.
		_, _ = c.server.wait(ctx, "create the container", pending, importTime)
	}
	if err := deleteContainer(ctx, c.server, c.name); err != nil {
		return err
	}
	return c.gone(KindContainer)
}

// Remove deletes the profile, the network and the build directory, and the
// container if Stop did not. The image is kept.
func (c *Container) Remove(ctx context.Context) error {
	errs := []error{c.Stop(ctx)}
	for _, kind := range []string{KindProfile, KindNetwork} {
		if errs[0] != nil || !c.has(kind) {
			continue // what uses it is still there
		}
		errs[0] = remove(ctx, c.server, kind, c.nameOf(kind))
		if errs[0] == nil {
			errs = append(errs, c.gone(kind))
		}
	}
	if c.cfg.BuildDir != "" {
		errs = append(errs, verdict.MarkHostFault(os.RemoveAll(c.cfg.BuildDir)))
	}
	return errors.Join(errs...)
}

// Clean undoes one entry that was recorded and is not done, after a crash. A
// thing that is missing is fine.
func Clean(ctx context.Context, cfg Config, kind, name string) error {
	cfg = cfg.withDefaults()
	server, err := connect(ctx, cfg)
	if err != nil {
		return endedOr(ctx, err)
	}
	return remove(ctx, server, kind, name)
}

// remove deletes a thing of a kind. One that is missing is fine.
func remove(ctx context.Context, s *server, kind, name string) error {
	switch kind {
	case KindContainer:
		return deleteContainer(ctx, s, name)
	case KindProfile:
		return deleteProfile(ctx, s, name)
	case KindNetwork:
		return deleteNetwork(ctx, s, name)
	}
	return fmt.Errorf("cannot clean up %s %q: unknown kind", kind, name)
}

const (
	// haltTime is how long stopping by force may take.
	haltTime = 40 * time.Second
	// again is the pause before something is tried again that the engine
	// refused because it is busy with the container.
	again = 250 * time.Millisecond
	// busyTime is how long it may be busy.
	busyTime = 2 * time.Minute
)

// halt stops a container by force. One that is missing or stopped is fine.
func halt(ctx context.Context, s *server, name string) error {
	return persist(ctx, func() error {
		state, err := containerState(ctx, s, name)
		if err != nil || state != api.Running && state != api.Frozen && state != api.Error {
			return err
		}
		return do(ctx, s, "stop the container", haltTime, func(e engine) (client.Operation, error) {
			return e.UpdateInstanceState(name, api.InstanceStatePut{Action: "stop", Timeout: 30, Force: true}, "")
		})
	})
}

// deleteContainer deletes a container in whatever state. A missing one is fine.
func deleteContainer(ctx context.Context, s *server, name string) error {
	return persist(ctx, func() error {
		if err := halt(ctx, s, name); err != nil {
			return err
		}
		err := do(ctx, s, "delete the container", deleteTime, func(e engine) (client.Operation, error) {
			return e.DeleteInstance(name)
		})
		if missing(err) {
			return nil
		}
		return err
	})
}

// deleteProfile deletes a profile. A missing one is fine.
func deleteProfile(ctx context.Context, s *server, name string) error {
	err := tell(ctx, s, "delete the profile", func(e engine) error { return e.DeleteProfile(name) })
	if missing(err) {
		return nil
	}
	return err
}

// persist tries again what the engine refuses, as it does while it is busy. It
// gives up at once when the engine cannot be used at all.
func persist(ctx context.Context, f func() error) error {
	timed, cancel := context.WithTimeout(ctx, busyTime)
	defer cancel()
	for {
		err := f()
		var fault *verdict.HostFault
		if err == nil || ctx.Err() != nil || errors.As(err, &fault) {
			return err
		}
		select {
		case <-timed.Done():
			return err
		case <-time.After(again):
		}
	}
}

// containerState is the state of a container; api.Stopped if there is none.
func containerState(ctx context.Context, s *server, name string) (api.StatusCode, error) {
	state, err := ask(ctx, s, "look at the container", func(e engine) (*api.InstanceState, error) {
		state, _, err := e.GetInstanceState(name)
		return state, err
	})
	if missing(err) {
		return api.Stopped, nil
	}
	if err != nil {
		return api.Error, err
	}
	return state.StatusCode, nil
}
