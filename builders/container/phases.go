// Package container is run by the worker of a build, root inside the build's namespaces:
// it has the steps that builds in containers share, which are phases, the build's proxy,
// the snap store proxy, the fetch service, malware. It touches the target through
// builders.Env, and asks the snap store proxy from the host.
package container

import (
	"context"
	"fmt"

	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// Phase is one part of the build in a container, announced in the log.
type Phase struct {
	Name string
	Run  func(ctx context.Context, env builders.Env) error
}

// InstallPhase is the name of the phase whose failure is an installation's.
const InstallPhase = "install"

// RunPhases runs phases up to the first that fails. Failures are the package's
// unless somebody knows better (spec: builders.md section 1).
func RunPhases(ctx context.Context, env builders.Env, phases ...Phase) error {
	for _, p := range phases {
		env.Say("Running %s phase...", p.Name)
		err := p.Run(ctx, env)
		if err == nil {
			continue
		}
		failed, advice := "Build failed", "See the output of the command that failed, above."
		if p.Name == InstallPhase {
			failed = "Install failed"
			advice = "See the output above: what the build needs could not be installed from its archives and stores."
		}
		err = builders.Blame(ctx, verdict.PackageFail, fmt.Errorf("the %s phase failed: %w", p.Name, err), advice)
		if ctx.Err() == nil {
			env.Say("%s\n%v", failed, err)
		}
		return err
	}
	return nil
}
