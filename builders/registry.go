package builders

// Types returns the table of build types: one row and one file each.
func Types() []Type {
	return []Type{
		{Tag: "binarypackage", Backend: "chroot", New: newBinaryPackage},
		{Tag: "snap", Backend: "lxd", Sanitize: true, Proxy: true, New: newSnap},
		{Tag: "oci", Backend: "lxd", Sanitize: true, Proxy: true, New: newOCI},
	}
}
