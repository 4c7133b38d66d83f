package builders

import (
	"fmt"
	"slices"
)

// Types returns the table of build types, in the order in which info() tells
// them: one row each.
func Types() []Type {
	types := []Type{
		{
			Tag: "binarypackage", Backend: "chroot", NoProxyInfo: true, New: newBinaryPackage,
			Args: slices.Concat(uploadArgs(), []string{"arch_indep", "build_debug_symbols"}),
		},
		{
			Tag: "sourcepackagerecipe", Backend: "chroot", New: newRecipe,
			Args: slices.Concat(uploadArgs(), []string{"recipe_text", "author_name", "author_email", "git"}),
		},
		{
			Tag: "translation-templates", Backend: "chroot", New: newTranslations,
			Args: slices.Concat(sourceArgs(), []string{"branch_url"}),
		},
		{Tag: "livefs", Backend: "lxd", New: newLiveFS, Args: liveFSArgs()},
		{
			Tag: "snap", Backend: "lxd", Sanitize: true, Proxy: true, New: newSnap,
			Args: slices.Concat(craftArgs(), []string{
				"craft_platform", "build_request_id", "build_request_timestamp", "build_source_tarball", "target_architectures",
			}),
		},
		{
			Tag: "oci", Backend: "lxd", Sanitize: true, Proxy: true, New: newOCI,
			Args: slices.Concat(namedArgs(), []string{"build_file", "build_args", "metadata"}),
		},
		{
			Tag: "charm", Backend: "lxd", Sanitize: true, Proxy: true, New: newCharm,
			Args: slices.Concat(craftArgs(), []string{"craft_platform"}),
		},
		{
			Tag: "ci", Backend: "lxd", Sanitize: true, Proxy: true, Extra: noJobs(), New: newCI,
			Args: slices.Concat(sourceArgs(), []string{
				"private", "jobs", "channels", "package_repositories", "environment_variables", "plugin_settings", "scan_malware",
			}),
		},
		{Tag: "rock", Backend: "lxd", Sanitize: true, Proxy: true, New: newRock, Args: craftArgs()},
		{
			Tag: "craft", Backend: "lxd", Sanitize: true, Proxy: true, New: newSource,
			Args: slices.Concat(craftArgs(), []string{"environment_variables", "scan_malware"}),
		},
	}
	for i := range types {
		types[i].New = types[i].declared(types[i].New)
	}
	return types
}

// uploadArgs are those of types whose results go to an archive.
func uploadArgs() []string { return []string{"suite", "ogrecomponent", "archive_purpose"} }

// sourceArgs are those of types that build from a repository.
func sourceArgs() []string { return []string{"branch", "git_repository", "git_path"} }

// namedArgs are those of types that make a thing with a name, from a folder of a
// repository.
func namedArgs() []string { return append(sourceArgs(), "name", "private", "build_path") }

// craftArgs are those of types that have a tool for that, a snap.
func craftArgs() []string { return append(namedArgs(), "channels") }

// Find returns the type with this tag.
func Find(tag string) (Type, error) {
	for _, t := range Types() {
		if t.Tag == tag {
			return t, nil
		}
	}
	return Type{}, fmt.Errorf("unknown build type %q", tag)
}
