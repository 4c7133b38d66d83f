package incus

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	client "github.com/lxc/incus/v6/client"
	"github.com/lxc/incus/v6/shared/api"

	"lpbuildd/buildd/verdict"
)

// guest is a container as the engine has it, or is going to: its name, and what of
// it was begun to be made. All parts of a Container share one.
type guest struct {
	cfg    Config
	server *server // from Create on
	name   string

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

// begin records that something is about to be made.
func (g *guest) begin(kind string) error {
	if err := g.cfg.Record(kind, g.nameOf(kind)); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made = append(g.made, kind)
	return nil
}

// nameOf is the name of what a build has one of.
func (g *guest) nameOf(kind string) string {
	if kind == KindNetwork {
		return g.cfg.Bridge
	}
	return g.name
}

// has tells whether something was begun to be made and is not known to be gone.
func (g *guest) has(kind string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.made, kind)
}

// gone records that something exists no more.
func (g *guest) gone(kind string) error {
	g.mu.Lock()
	g.made = slices.DeleteFunc(g.made, func(k string) bool { return k == kind })
	g.mu.Unlock()
	return g.cfg.Done(kind, g.nameOf(kind))
}

func (g *guest) setPending(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending = id
}

// killAll stops the container with force.
func (g *guest) killAll(ctx context.Context) error {
	if !g.has(KindContainer) {
		return nil
	}
	g.mu.Lock()
	g.killed = true
	g.kills++
	g.mu.Unlock()
	return halt(ctx, g.server, g.name)
}

func (g *guest) killCount() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.kills
}

// revive tells whether the container was stopped by killAll since the last time.
func (g *guest) revive() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	killed := g.killed
	g.killed = false
	return killed
}

// destroy deletes the container, with force if it runs.
func (g *guest) destroy(ctx context.Context) error {
	if !g.has(KindContainer) {
		return nil
	}
	g.mu.Lock()
	pending := g.pending
	g.mu.Unlock()
	if pending != "" {
		// Until it is made, the engine refuses to delete it. How that ends does
		// not matter.
		_, _ = g.server.wait(ctx, "create the container", pending, importTime)
	}
	if err := deleteContainer(ctx, g.server, g.name); err != nil {
		return err
	}
	return g.gone(KindContainer)
}

const (
	// haltTime is how long stopping by force may take.
	haltTime = 40 * time.Second
	// busyPause is the pause before something is tried again that the engine
	// refused because it is busy with the container.
	busyPause = 250 * time.Millisecond
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
		case <-time.After(busyPause):
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
