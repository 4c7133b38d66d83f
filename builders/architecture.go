package builders

// architecture reads for what a build is: an ABI, and the variant of it, "" if
// it is the ABI itself (spec: 2026.md section 2). The old arch_tag is the
// variant's name where a manager sends it beside abi_tag, and then has no
// effect; it is checked all the same.
func (r *Reader) architecture(otherwise string) (abi, variant string) {
	old := r.Optional("arch_tag", otherwise)
	if abi = r.tag("abi_tag"); abi == "" {
		abi = old
	}
	if variant = r.tag("isa_tag"); variant == abi {
		variant = ""
	}
	return abi, variant
}

// tag reads an optional string as strictly as possible: only nil and "" are not
// set.
func (r *Reader) tag(key string) string {
	switch v := r.Args[key].(type) {
	case nil, string:
		return r.Optional(key, "")
	default:
		r.Note(WrongType(key, "a string", v))
		return ""
	}
}

// ISA is the instruction set that packages are compiled for: the variant, or the
// ABI.
func (c Common) ISA() string {
	if c.Variant != "" {
		return c.Variant
	}
	return c.ABI
}

// Options are what each command line of a target operation in the log says
// about the target (spec: lifecycle.md section 4.2, 2026.md section 3). The
// architecture is there under its old name, too, for whoever reads these lines.
func (c Common) Options(backend string) []string {
	options := []string{
		"--backend=" + backend, "--series=" + c.Series, "--arch=" + c.ABI, "--abi-tag=" + c.ABI, "--isa-tag=" + c.ISA(),
	}
	for _, constraint := range c.Constraints {
		options = append(options, "--constraint="+constraint)
	}
	return options
}
