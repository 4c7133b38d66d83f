package incus

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
)

const (
	// maxName is the length of the longest name of a container, which is its
	// host name as well.
	maxName    = 63
	hashLength = 8
)

// containerName is the name of the container and of the profile of a build. It
// tells builders and builds on one machine apart.
func containerName(cfg Config) string {
	sum := sha256.Sum256([]byte(cfg.Instance + "\x00" + cfg.BuildID))
	name := "lp"
	for _, part := range []string{sanitize(cfg.Series), sanitize(cfg.Arch), builderName(cfg.Instance)} {
		if part != "" {
			name += "-" + part
		}
	}
	name = name[:min(len(name), maxName-hashLength-1)]
	return strings.TrimRight(name, "-") + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// maxBuilder is the length of the longest name of a builder in the name of a
// container, which has room for it beside each series and architecture that exists.
const maxBuilder = 30

// builderName is the name of a builder in the names of its containers. What would be
// cut off there may be what tells it from another builder, so a hash replaces it.
func builderName(instance string) string {
	name := sanitize(instance)
	if len(name) <= maxBuilder {
		return name
	}
	sum := sha256.Sum256([]byte(instance))
	return strings.TrimRight(name[:maxBuilder-hashLength-1], "-") + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// sanitize makes a word of letters, digits and single hyphens.
func sanitize(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r >= 'A' && r <= 'Z':
			return r
		}
		return '-'
	}, s)
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '-' }), "-")
}

// nameOfBuild takes what containerName has made to pieces: a series and an
// architecture, the builder, and a hash.
var nameOfBuild = regexp.MustCompile(`^lp-[^-]+-[^-]+-(.+)-[0-9a-f]{8}$`)

// OfInstance says whether a container or a profile can be that of a build of this
// builder, by its name.
func OfInstance(instance, name string) bool {
	parts := nameOfBuild.FindStringSubmatch(name)
	return parts != nil && len(name) <= maxName && parts[1] == builderName(instance)
}

// KeptName is the name of a container that is kept: not that of any build's.
func KeptName(instance, id string) string {
	name := "lp-kept-" + sanitize(instance)
	return strings.TrimRight(name[:min(len(name), maxName-len(id)-1)], "-") + "-" + id
}
