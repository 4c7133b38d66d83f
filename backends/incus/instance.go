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

// instance is a container as the engine has it, or is going to: its name, and what of
// it was begun to be made. All parts of a Container share one.
type instance struct {
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
func (i *instance) begin(kind string) error {
	if err := i.cfg.Record(kind, i.nameOf(kind)); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.made = append(i.made, kind)
	return nil
}

// nameOf is the name of what a build has one of.
func (i *instance) nameOf(kind string) string {
	if kind == KindNetwork {
		return i.cfg.Bridge
	}
	return i.name
}

// has tells whether something was begun to be made and is not known to be gone.
func (i *instance) has(kind string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.made, kind)
}

// gone records that something exists no more.
func (i *instance) gone(kind string) error {
	i.mu.Lock()
	i.made = slices.DeleteFunc(i.made, func(k string) bool { return k == kind })
	i.mu.Unlock()
	return i.cfg.Done(kind, i.nameOf(kind))
}

func (i *instance) setPending(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pending = id
}

// killAll stops the container with force.
func (i *instance) killAll(ctx context.Context) error {
	if !i.has(KindContainer) {
		return nil
	}
	i.mu.Lock()
	i.killed = true
	i.kills++
	i.mu.Unlock()
	return halt(ctx, i.server, i.name)
}

func (i *instance) killCount() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.kills
}

// revive tells whether the container was stopped by killAll since the last time.
func (i *instance) revive() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	killed := i.killed
	i.killed = false
	return killed
}

// destroy deletes the container, with force if it runs.
func (i *instance) destroy(ctx context.Context) error {
	if !i.has(KindContainer) {
		return nil
	}
	i.mu.Lock()
	pending := i.pending
	i.mu.Unlock()
	if pending != "" {
		// Until it is made, the engine refuses to delete it. How that ends does
		// not matter.
		_, _ = i.server.wait(ctx, "create the container", pending, importTime)
	}
	if err := deleteContainer(ctx, i.server, i.name); err != nil {
		return err
	}
	return i.gone(KindContainer)
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
