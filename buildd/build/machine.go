package build

import (
	"fmt"
	"os"

	"lpbuildd/buildd/cgroup"
	"lpbuildd/buildd/namespace"
	"lpbuildd/builders/types"
)

func thisMachine() machine {
	return machine{
		find: types.Find, newTarget: newTarget, runners: runners, killAll: namespace.KillAll,
		memory: memoryOf, refusals: refusalsOf, noGroup: os.Getenv(cgroup.UnkeptVariable), stages: stages(),
	}
}

// newTarget makes the target of the build's backend, without touching anything
// yet.
func newTarget(p place) (target, error) {
	switch p.backend {
	case "chroot":
		return newChroot(p)
	case "lxd":
		return newContainer(p)
	}
	return nil, fmt.Errorf("there is no backend %q", p.backend)
}
