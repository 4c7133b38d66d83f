package debian

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/builders"
)

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

// variantTable is where a dpkg that has variants lists them.
const variantTable = "/usr/share/dpkg/varianttable"

// maxVariantTable is far more than any list of architectures takes.
const maxVariantTable = 16 << 20
