package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"lpbuildd/cmd/lpbuild/repository"
)

// binaryPackage is the type of builds from a .dsc.
const binaryPackage = "binarypackage"

// target is what run builds, as the command line names it.
type target struct {
	// tag is the build type.
	tag string
	// place is a .dsc, a folder or a URL; "" means that none was named.
	place string
}

// parseTarget reads the words FILE.dsc or TYPE [FOLDER|URL].
func parseTarget(words []string) (target, error) {
	if len(words) == 1 && strings.HasSuffix(words[0], ".dsc") {
		return target{tag: binaryPackage, place: words[0]}, nil
	}
	t := target{tag: words[0]}
	if len(words) > 1 {
		t.place = words[1]
	}
	if !regexp.MustCompile(`^[a-z][a-z0-9-]*$`).MatchString(t.tag) {
		return t, fmt.Errorf("cannot build %s: want a Debian source package, a file that ends in .dsc, or a type and a folder, as in 'lpbuild run oci .'", t.tag)
	}
	isSource := strings.HasSuffix(t.place, ".dsc")
	switch {
	case t.tag == binaryPackage && !isSource:
		return t, fmt.Errorf("cannot build %s: want a Debian source package, a file that ends in .dsc", t)
	case t.tag != binaryPackage && isSource:
		return t, fmt.Errorf("cannot build %s: a Debian source package is a %s", t, binaryPackage)
	case t.place != "" && !isSource && !t.hasRepository():
		return t, fmt.Errorf("cannot build %s: a %s has no repository, but arguments: name them with --args or --arg", t, t.tag)
	case strings.HasPrefix(t.place, "file://"):
		return t, fmt.Errorf("cannot build %s: name the folder without file://", t)
	}
	return t, nil
}

// String is for messages.
func (t target) String() string {
	if t.tag == binaryPackage && t.place != "" {
		return t.place
	}
	return strings.TrimSuffix(t.tag+" "+repository.WithoutPassword(t.place), " ")
}

// hasRepository tells whether the type builds from a repository. Recipes and live
// file systems are all in their arguments.
func (t target) hasRepository() bool {
	return !slices.Contains([]string{binaryPackage, "sourcepackagerecipe", "livefs"}, t.tag)
}

// hasSuite tells whether the type builds for a suite, and not for a series only.
func (t target) hasSuite() bool {
	return t.tag == binaryPackage || t.tag == "sourcepackagerecipe"
}

// hasName tells whether what the type builds has a name of its own.
func (t target) hasName() bool {
	return t.hasRepository() && t.tag != "ci" && t.tag != "translation-templates"
}

// isRepositoryURL tells URLs from folders.
func isRepositoryURL(place string) bool { return strings.Contains(place, "://") }

// check refuses flags that the type would silently ignore. Types that are not
// in the table may use all.
func (t target) check(changed func(flag string) bool) error {
	source := []string{"name", "git-path", "channel", "build-arg", "build-file", "build-path", "target-arch", "source-tarball"}
	proxy := []string{"proxy-url", "revocation-endpoint", "fetch-service-certificate", "disable-proxy-after-pull"}
	debian := []string{"component", "archive-purpose", "arch-indep", "debug-symbols"}
	useless := map[string][]string{
		binaryPackage: append(source, proxy...),
		"snap":        append(debian, "build-arg", "build-file"),
		"oci":         append(debian, "channel", "target-arch", "source-tarball", "fetch-service-certificate", "disable-proxy-after-pull"),

		"sourcepackagerecipe": slices.Concat(source, debian),
		"livefs":              slices.Concat(source, debian),
	}
	for _, flag := range useless[t.tag] {
		if changed(flag) {
			return fmt.Errorf("--%s is not for builds of type %s", flag, t.tag)
		}
	}
	return nil
}
