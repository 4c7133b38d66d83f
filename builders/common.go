package builders

import (
	"encoding/base64"
	"errors"

	"lpbuildd/ordered"
)

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
	r := reader{args: args}
	c := Common{
		Series:      r.required("series"),
		ImageType:   r.optional("image_type", "chroot"),
		FastCleanup: r.boolean("fast_cleanup"),
		Constraints: r.strings("builder_constraints"),
		Private:     r.boolean("archive_private"),
		Archives:    r.strings("archives"),
		HasArchives: args.IsArray("archives"),
		TrustedKeys: r.keys("trusted_keys"),
		BuildURL:    r.optional("build_url", ""),
	}
	c.ABI, c.Variant = r.architecture(defaultArch)
	return c, errors.Join(r.errs...)
}

// reader reads arguments one after the other and collects what is wrong.
type reader struct {
	args Args
	errs []error
}

func (r *reader) note(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *reader) required(key string) string {
	s, err := r.args.String(key)
	r.note(err)
	r.note(checkLine(key, s))
	return s
}

func (r *reader) optional(key, otherwise string) string {
	s, err := r.args.OptionalString(key)
	r.note(err)
	r.note(checkLine(key, s))
	if s == "" {
		return otherwise
	}
	return s
}

func (r *reader) boolean(key string) bool {
	b, err := r.args.Bool(key)
	r.note(err)
	return b
}

func (r *reader) strings(key string) []string {
	list, err := r.args.Strings(key)
	r.note(err)
	return list
}

func (r *reader) stringMap(key string) ordered.Map[string] {
	m, err := r.args.StringMap(key)
	r.note(err)
	return m
}

// keys accepts binary data as well as base64 text. It is put into base64, the
// form that binary data has anyway after a journey through JSON.
func (r *reader) keys(key string) []string {
	list, err := r.args.texts(key, func(v any) (string, bool) {
		if data, ok := v.([]byte); ok {
			return base64.StdEncoding.EncodeToString(data), true
		}
		s, ok := v.(string)
		return s, ok
	})
	r.note(err)
	return list
}
