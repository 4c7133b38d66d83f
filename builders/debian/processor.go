package debian

import (
	"context"
	"slices"
	"strings"

	"lpbuildd/builders"
)

// checkProcessor warns of a processor that lacks instructions of the variant, with
// which programs that the build runs may die. Many builds run none.
func (v variant) checkProcessor(ctx context.Context, env builders.Env) error {
	info, err := env.OnHost(ctx, "cat", "/proc/cpuinfo")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		env.Say("WARNING: cannot find out whether this machine can run code for %s: %v", env.Common.Variant, err)
		return nil
	}
	if lacks := v.lacking(info); len(lacks) > 0 {
		env.Say("WARNING: the processor of this machine lacks %s, which code for %s may use: programs may die of SIGILL.",
			builders.ListNames(lacks), env.Common.Variant)
	}
	return nil
}

// lacking returns the flags that /proc/cpuinfo does not have.
func (v variant) lacking(cpuinfo string) []string {
	has := processorFlags(cpuinfo)
	return slices.DeleteFunc(slices.Clone(v.flags), func(flag string) bool { return has[plainFlag(flag)] })
}

// processorFlags are all features that processors have by /proc/cpuinfo, which
// calls the line differently on each architecture. RISC-V writes
// rv64imafdc_zba_zbb: a letter each, then words.
func processorFlags(cpuinfo string) map[string]bool {
	has := map[string]bool{}
	for line := range strings.Lines(cpuinfo) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "flags", "features":
			for word := range strings.FieldsSeq(value) {
				has[plainFlag(word)] = true
			}
		case "isa", "hart isa":
			letters, words, _ := strings.Cut(strings.TrimSpace(value), "_")
			for _, letter := range strings.TrimLeft(letters, "rv0123456789") {
				has[plainFlag(string(letter))] = true
			}
			for word := range strings.SplitSeq(words, "_") {
				has[plainFlag(word)] = true
			}
		}
	}
	return has
}

// flagAliases maps other names of features to those of Linux.
var flagAliases = map[string]string{
	"lzcnt": "abm", "lahf": "lahf_lm", "lahf_sahf": "lahf_lm", "sahf": "lahf_lm", "sse3": "pni",
	"cmpxchg16b": "cx16", "cmpxchg8b": "cx8", "osfxsr": "fxsr", "osxsave": "xsave", "sce": "syscall",
}

// plainFlag is the one name of a feature that has several.
func plainFlag(flag string) string {
	flag = strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(flag))
	if alias, ok := flagAliases[flag]; ok {
		return alias
	}
	return flag
}
