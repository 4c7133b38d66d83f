package builders

import "slices"

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
			Tag: "charm", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(charmTool()),
			Args: slices.Concat(craftArgs(), []string{"craft_platform"}),
		},
		{
			Tag: "ci", Backend: "lxd", Sanitize: true, Proxy: true, Extra: noJobs(), New: newCI,
			Args: slices.Concat(sourceArgs(), []string{
				"private", "jobs", "channels", "package_repositories", "environment_variables", "plugin_settings", "scan_malware",
			}),
		},
		{Tag: "rock", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(rockTool()), Args: craftArgs()},
		{
			Tag: "craft", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(sourceTool()),
			Args: slices.Concat(craftArgs(), []string{"environment_variables", "scan_malware"}),
		},
	}
	for i := range types {
		types[i].New = types[i].declared(types[i].New)
	}
	return types
}
