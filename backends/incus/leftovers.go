package incus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lxc/incus/v6/shared/api"
)

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

// CleanInstance removes what builds of a builder have left in the engine, found by
// name and mark. None of them may run. Containers that spare names stay.
func CleanInstance(ctx context.Context, cfg Config, spare func(name string) bool, notice func(kind, name string)) error {
	cfg = cfg.withDefaults()
	server, err := connect(ctx, cfg)
	if err != nil {
		return endedOr(ctx, err)
	}
	return cleanInstance(ctx, server, cfg.Instance, spare, notice)
}

func cleanInstance(ctx context.Context, s *server, instance string, spare func(string) bool, notice func(kind, name string)) error {
	containers, err := ask(ctx, s, "list the containers", func(e engine) ([]api.Instance, error) { return e.GetInstances(api.InstanceTypeAny) })
	if err != nil {
		return err
	}
	var errs []error
	for _, c := range containers {
		// That of a build has a profile of its own name.
		if OfInstance(instance, c.Name) && slices.Contains(c.Profiles, c.Name) && !spare(c.Name) {
			notice(KindContainer, c.Name)
			errs = append(errs, deleteContainer(ctx, s, c.Name))
		}
	}
	profiles, err := ask(ctx, s, "list the profiles", func(e engine) ([]api.Profile, error) { return e.GetProfiles() })
	errs = append(errs, err)
	for _, p := range profiles {
		if OfInstance(instance, p.Name) && p.Description == profileText && !spare(p.Name) {
			notice(KindProfile, p.Name)
			errs = append(errs, deleteProfile(ctx, s, p.Name))
		}
	}
	return errors.Join(errs...)
}
