package builders

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
