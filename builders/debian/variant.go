package debian

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

const (
	// variantOption is what its dpkg-buildpackage takes.
	variantOption = "--host-arch-variant"
	// variantAdvice is for images that cannot build for a variant.
	variantAdvice = "Give this variant a base image with a newer dpkg, one that knows the variant; plain packages would be refused as its result."
)

// checkVariant asks the base image, which has been updated by now, whether its
// dpkg can build for the variant (spec: 2026.md section 4.3). Without variants it
// would build plain packages, which are no result.
func checkVariant(ctx context.Context, env builders.Env) error {
	if env.Common.Variant == "" {
		return nil
	}
	v, missing, err := lookUpVariant(ctx, env)
	if err != nil {
		return builders.Blame(ctx, verdict.ChrootFail, fmt.Errorf("cannot read what variants the base image knows: %w", err), variantAdvice)
	}
	hasOption, err := takesVariants(ctx, env)
	if err != nil {
		return fmt.Errorf("cannot ask the dpkg of the base image about variants: %w", err)
	}
	if !hasOption {
		missing = append(missing, "its dpkg-buildpackage does not know "+variantOption)
	}
	if !strings.HasPrefix(env.Common.Variant, env.Common.ABI) {
		missing = append(missing, "the name does not begin with that of the architecture")
	}
	if len(missing) > 0 {
		return &verdict.BuildError{
			Outcome: verdict.ChrootFail,
			Err: fmt.Errorf("the base image cannot build for %s, a variant of %s: %s",
				env.Common.Variant, env.Common.ABI, strings.Join(missing, "; ")),
			Advice: variantAdvice,
		}
	}
	return v.checkProcessor(ctx, env)
}

// takesVariants tells whether the target's dpkg-buildpackage takes the option. An
// error is something else than an answer.
func takesVariants(ctx context.Context, env builders.Env) (bool, error) {
	help, err := backends.Output(ctx, env.Target, backends.Command{
		Argv: []string{"dpkg-buildpackage", "--help"}, Env: []string{"LANG=C"}, Stderr: env.Log,
	})
	var exit *backends.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	return err == nil && strings.Contains(string(help), variantOption), nil
}

// variantArgs make sbuild build for the variant and look for results of that name
// (spec: 2026.md section 4.4): to sbuild, it is an architecture with a suffix.
func variantArgs(c builders.Common) []string {
	if c.Variant == "" {
		return nil
	}
	return []string{"--debbuildopt=" + variantOption + "=" + c.Variant, "--dpkg-file-suffix=" + strings.TrimPrefix(c.Variant, c.ABI)}
}
