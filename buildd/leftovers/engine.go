package leftovers

import (
	"context"
	"time"

	"lpbuildd/backends"
	"lpbuildd/backends/bridge"
	"lpbuildd/backends/incus"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
)

// Engine is how the container engine is reached.
func Engine(s job.Container) incus.Config {
	return incus.Config{
		Engine: s.Engine, Socket: s.Socket, Pool: s.Pool, Project: s.Project, Instance: s.Instance,
		Remote: s.Remote, ClientCert: s.ClientCert, ClientKey: s.ClientKey, ServerCert: s.ServerCert,
		MaxImages: s.MaxImages, MaxImageAge: s.MaxImageAge,
	}
}

// KeptEngine is how the engine of a kept container is reached.
func KeptEngine(r kept.Record) incus.Config {
	if r.Engine == nil {
		return Engine(job.Container{})
	}
	return Engine(*r.Engine)
}

// undoLimit is how long the clean-up of one entry of the ledger may take.
const undoLimit = 25 * time.Second

// undoBridge undoes an entry of package bridge.
func undoBridge(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, undoLimit)
	defer cancel()
	return bridge.Clean(ctx, backends.Host{}, name)
}
