package builders

import (
	"context"
	"fmt"

	"lpbuildd/buildd/verdict"
)

// phase is one part of the build in a container, announced in the log.
type phase struct {
	name string
	run  func(ctx context.Context, env Env) error
}

// installPhase is the name of the phase whose failure is an installation's.
const installPhase = "install"

// runPhases runs phases up to the first that fails. Failures are the package's
// unless somebody knows better (spec: builders.md section 1).
func runPhases(ctx context.Context, env Env, phases ...phase) error {
	for _, p := range phases {
		env.say("Running %s phase...", p.name)
		err := p.run(ctx, env)
		if err == nil {
			continue
		}
		failed, advice := "Build failed", "See the output of the command that failed, above."
		if p.name == installPhase {
			failed = "Install failed"
			advice = "See the output above: what the build needs could not be installed from its archives and stores."
		}
		err = blame(ctx, verdict.PackageFail, fmt.Errorf("the %s phase failed: %w", p.name, err), advice)
		if ctx.Err() == nil {
			env.say("%s\n%v", failed, err)
		}
		return err
	}
	return nil
}
