package builders

// Common are the arguments that every build type has (spec: lifecycle.md
// section 3).
type Common struct {
	// Series of the target, such as "noble".
	Series string
	// ABI is the Debian architecture of the target, such as "amd64". It is the
	// only one that dpkg, the kernel and container engines may be told.
	ABI string
	// Variant is the ABI with a newer instruction set for which the build is,
	// such as "amd64v3"; "" for the ABI itself.
	Variant string
	// ImageType is "chroot" unless the manager says otherwise; whether a backend
	// knows it is found out when the target is created.
	ImageType string
	// FastCleanup leaves the target behind for the reset of the machine.
	FastCleanup bool
	// Constraints are what the manager asked of the builder, such as
	// "gpu-nvidia".
	Constraints []string
	// Private says that credentials must not appear in the log.
	Private bool
	// Archives are lines for apt's package sources.
	Archives []string
	// HasArchives tells an empty list, which means no sources at all, from
	// none, which leaves those of the image alone.
	HasArchives bool
	// TrustedKeys are apt's keys, in base64 that has not been checked: a bad one
	// fails the stage KEYS.
	TrustedKeys []string
	// BuildURL is where people find the build, or "".
	BuildURL string
}

// ParseCommon reads the common arguments. Its error names every argument that
// is wrong.
func ParseCommon(args Args, defaultArch string) (Common, error) {
	args = args.only(commonArgs())
	r := NewReader(args)
	c := Common{
		Series:      r.Required("series"),
		ImageType:   r.Optional("image_type", "chroot"),
		FastCleanup: r.Bool("fast_cleanup"),
		Constraints: r.Strings("builder_constraints"),
		Private:     r.Bool("archive_private"),
		Archives:    r.Strings("archives"),
		HasArchives: args.IsArray("archives"),
		TrustedKeys: r.keys("trusted_keys"),
		BuildURL:    r.Optional("build_url", ""),
	}
	c.ABI, c.Variant = r.architecture(defaultArch)
	return c, r.Err()
}
