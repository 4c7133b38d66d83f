// Package types is looked at by the daemon, unprivileged, and by the supervisor's
// processes, as root: it is the table of build types, and the types that take a file or
// two. A type's Build and Gather run in the worker of a build, root inside its
// namespaces, and touch nothing but what builders.Env holds.
package types

import (
	"fmt"
	"slices"

	"lpbuildd/builders"
	"lpbuildd/builders/ci"
	"lpbuildd/builders/craft"
	"lpbuildd/builders/debian"
	"lpbuildd/builders/oci"
	"lpbuildd/builders/recipe"
)

// All returns the table of build types, in the order in which info() tells
// them: one row each.
func All() []builders.Type {
	types := []builders.Type{
		{
			Tag: "binarypackage", Backend: "chroot", NoProxyInfo: true, New: debian.New,
			Args: slices.Concat(uploadArgs(), []string{"arch_indep", "build_debug_symbols"}),
		},
		{
			Tag: "sourcepackagerecipe", Backend: "chroot", New: recipe.New,
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
			Tag: "oci", Backend: "lxd", Sanitize: true, Proxy: true, New: oci.New,
			Args: slices.Concat(namedArgs(), []string{"build_file", "build_args", "metadata"}),
		},
		{
			Tag: "charm", Backend: "lxd", Sanitize: true, Proxy: true, New: craft.NewCharm,
			Args: slices.Concat(craftArgs(), []string{"craft_platform"}),
		},
		{
			Tag: "ci", Backend: "lxd", Sanitize: true, Proxy: true, Extra: ci.NoJobs(), New: ci.New,
			Args: slices.Concat(sourceArgs(), []string{
				"private", "jobs", "channels", "package_repositories", "environment_variables", "plugin_settings", "scan_malware",
			}),
		},
		{Tag: "rock", Backend: "lxd", Sanitize: true, Proxy: true, New: craft.NewRock, Args: craftArgs()},
		{
			Tag: "craft", Backend: "lxd", Sanitize: true, Proxy: true, New: craft.NewSource,
			Args: slices.Concat(craftArgs(), []string{"environment_variables", "scan_malware"}),
		},
	}
	for i, t := range types {
		types[i] = t.Declared()
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
func Find(tag string) (builders.Type, error) {
	for _, t := range All() {
		if t.Tag == tag {
			return t, nil
		}
	}
	return builders.Type{}, fmt.Errorf("unknown build type %q", tag)
}
