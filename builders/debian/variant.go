package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

const (
	// variantTable is where a dpkg that has variants lists them.
	variantTable = "/usr/share/dpkg/varianttable"
	// variantOption is what its dpkg-buildpackage takes.
	variantOption = "--host-arch-variant"
	// maxVariantTable is far more than any list of architectures takes.
	maxVariantTable = 16 << 20
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

// lookUpVariant finds the variant in the target's table, or says what it misses.
func lookUpVariant(ctx context.Context, env builders.Env) (v variant, missing []string, err error) {
	table, err := backends.ReadFile(ctx, env.Target, variantTable, maxVariantTable)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, []string{"its dpkg has no " + variantTable}, nil
	case err != nil:
		return v, nil, err
	}
	v, known := findVariant(string(table), env.Common.Variant, env.Common.ABI)
	if !known {
		missing = []string{variantTable + " does not list it"}
	}
	return v, missing, nil
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

// checkBuiltFor checks that a build for a variant made results with its name, and
// tells packages for the ABI from none at all (spec: 2026.md section 4.5).
func (b *binaryPackage) checkBuiltFor(env builders.Env) error {
	made := func(arch string) bool {
		_, err := os.Lstat(filepath.Join(env.Job.Dir, b.changesName(arch)))
		return err == nil
	}
	abi, variant := env.Common.ABI, env.Common.Variant
	if variant == "" || made(variant) {
		return nil
	}
	err := noChanges(b.changesName(variant))
	if made(abi) {
		err = fmt.Errorf("%w, but %s: the packages were built for %s and not for the variant %s", err, b.changesName(abi), abi, variant)
	}
	return &verdict.BuildError{
		Outcome: verdict.PackageFail, Err: err,
		Advice: "Look for what in the package, or in the dpkg of the base image, ignores " + variantOption + ".",
	}
}

// variant is a line of dpkg's table.
type variant struct {
	// flags are the features that a processor must have.
	flags []string
}

// findVariant looks a variant of an architecture up. Lines are of the variant, the
// architecture and a list of flags with commas; "#" begins a comment.
func findVariant(table, name, abi string) (variant, bool) {
	for line := range strings.Lines(table) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) < 2 || words[0] != name || words[1] != abi {
			continue
		}
		isComma := func(r rune) bool { return r == ',' }
		return variant{flags: strings.FieldsFunc(strings.Join(words[2:], ","), isComma)}, true
	}
	return variant{}, false
}
