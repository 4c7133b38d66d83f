package builders

// Types returns the table of build types, in the order in which info() tells
// them: one row each.
func Types() []Type {
	return []Type{
		{Tag: "binarypackage", Backend: "chroot", NoProxyInfo: true, New: newBinaryPackage},
		{Tag: "sourcepackagerecipe", Backend: "chroot", New: newRecipe},
		{Tag: "translation-templates", Backend: "chroot", New: newTranslations},
		{Tag: "livefs", Backend: "lxd", New: newLiveFS},
		{Tag: "snap", Backend: "lxd", Sanitize: true, Proxy: true, New: newSnap},
		{Tag: "oci", Backend: "lxd", Sanitize: true, Proxy: true, New: newOCI},
		{Tag: "charm", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(charmTool())},
		{Tag: "ci", Backend: "lxd", Sanitize: true, Proxy: true, Extra: noJobs(), New: newCI},
		{Tag: "rock", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(rockTool())},
		{Tag: "craft", Backend: "lxd", Sanitize: true, Proxy: true, New: newCraft(sourceTool())},
	}
}
