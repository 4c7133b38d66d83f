package incus

import (
	"context"
	"errors"
	"regexp"
	"slices"

	"github.com/lxc/incus/v6/shared/api"
)

// profileText describes the profiles of builds, and marks them.
const profileText = "a build of lpbuildd"

// nameOfBuild takes what containerName has made to pieces: a series and an
// architecture, the builder, and a hash.
var nameOfBuild = regexp.MustCompile(`^lp-[^-]+-[^-]+-(.+)-[0-9a-f]{8}$`)

// OfInstance says whether a container or a profile can be that of a build of this
// builder, by its name.
func OfInstance(instance, name string) bool {
	parts := nameOfBuild.FindStringSubmatch(name)
	return parts != nil && len(name) <= maxName && parts[1] == builderName(instance)
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
