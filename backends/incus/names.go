package incus

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"lpbuildd/backends"
)

const (
	// maxName is the length of the longest name of a container, which is its
	// host name as well.
	maxName    = 63
	hashLength = 8
	// aliasPrefix begins the names of all images that are ours.
	aliasPrefix = "lpbuildd-"
	// imageProperty marks images as ours, even before they have their alias.
	imageProperty = "lpbuildd"
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

// aliasName names the image that is kept of a base image. What is uploaded as
// it is depends on nothing else than the file.
func aliasName(image backends.Image, series, arch string) string {
	if image.Type != chrootImage {
		return aliasPrefix + sanitize(image.SHA1) + "-" + sanitize(image.Type)
	}
	return aliasPrefix + sanitize(image.SHA1) + "-" + converterVersion + "-" + sanitize(series) + "-" + sanitize(arch)
}
