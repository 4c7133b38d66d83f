package builders

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
)

// What a build type does not declare here, or in its row of Types, it does not
// get to see: its New, ParseCommon and ParseProxy are given these arguments only.
// So there is no second list of what the builder knows.

// commonArgs are those that managers send with every build. Not all have an effect
// here, or on every type; proxy_info is asked for the last two.
func commonArgs() []string {
	return []string{
		"series", "abi_tag", "isa_tag", "arch_tag", "image_type", "fast_cleanup", "builder_constraints",
		"archive_private", "archives", "trusted_keys", "build_url", "launchpad_instance", "launchpad_server_url",
		"revocation_endpoint", "use_fetch_service",
	}
}

// proxyArgs are those of types that may get a proxy.
func proxyArgs() []string {
	return []string{"proxy_url", "revocation_endpoint", "use_fetch_service", "disable_proxy_after_pull", "secrets"}
}

// Declared returns the type with a New that is blind for everything but the type's
// arguments.
func (t Type) Declared() Type {
	build, known := t.New, t.known()
	t.New = func(args Args, files []string) (Builder, error) { return build(args.only(known), files) }
	return t
}

// only returns the arguments with these keys.
func (a Args) only(keys []string) Args {
	known := maps.Clone(a)
	maps.DeleteFunc(known, func(key string, _ any) bool { return !slices.Contains(keys, key) })
	return known
}

// known are all arguments of the type.
func (t Type) known() []string {
	keys := append(commonArgs(), t.Args...)
	if t.Proxy {
		keys = append(keys, proxyArgs()...)
	}
	return keys
}

// Unknown names the arguments that the type does not know, for people: sorted,
// each printable, and not too many; "" without any. They have no effect: managers
// of tomorrow send more (spec: 2026.md section 1).
func (t Type) Unknown(args Args) string {
	known := t.known()
	var names []string
	for key := range args {
		if !slices.Contains(known, key) {
			names = append(names, key)
		}
	}
	slices.Sort(names)
	return ListNames(names)
}

// ListNames makes one line of names that may come from anywhere.
func ListNames(names []string) string {
	const most = 20
	var shown []string
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, printableName(name))
	}
	if more := len(names) - len(shown); more > 0 {
		shown = append(shown, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(shown, ", ")
}

// printableName is at most 60 printable characters of a name.
func printableName(name string) string {
	var text strings.Builder
	left := 60
	for _, r := range name {
		if left == 0 {
			return text.String() + "..."
		}
		left--
		if !unicode.IsPrint(r) {
			r = '?'
		}
		_, _ = text.WriteRune(r) // never fails
	}
	if name == "" {
		return `""`
	}
	return text.String()
}
