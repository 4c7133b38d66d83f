package build

import (
	"context"

	"lpbuildd/backends"
	"lpbuildd/buildd/job"
	"lpbuildd/buildd/kept"
	"lpbuildd/builders"
)

// target is what a build runs in, with its root directory on the host.
type target interface {
	backends.Lifecycle
	Root() string
}

// place is what a target is made of and for.
type place struct {
	backend  string
	settings job.Settings
	common   builders.Common
	home     *home
	books    *books
	voice    *voice
}

// keeper is a target that can outlive its build. Nothing runs in it any more.
type keeper interface {
	// keep takes the target out of the hands of its build, into a folder or under
	// a name of its own, without files that hold secrets, and notes in r how it is
	// found again.
	keep(ctx context.Context, path string, secrets []string, r *kept.Record) error
	// release says, once r is written down, that the target is not the build's any
	// more: Stop and Remove leave it alone.
	release() error
}
