package builders

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// registries are package registries with credentials, by ecosystem and name.
type registries struct {
	cargo, maven map[string]registry
	// mavenAll is one repository for everything, private packages and others.
	mavenAll registry
	// wantsMaven says that something was said about Maven, be it without effect.
	wantsMaven bool
	// wrong is what is not usable. It fails the build, not the request for it.
	wrong []error
}

// registry is one place that packages come from.
type registry struct{ url, user, token string }

var (
	// registryKey takes a variable apart: ecosystem, name of the registry, what it
	// says of it. A name may have underscores (weakness O3).
	registryKey = regexp.MustCompile(`^(CARGO|MAVEN)_([^=\s[:cntrl:]]+)_(URL|READ_AUTH)$`)
	// publisherKey matches the variables of the manager's own publisher, which may
	// be sent, too: as a mirror its repository would catch every download.
	publisherKey = regexp.MustCompile(`^(CARGO|MAVEN)_PUBLISH_`)
)

// The repository that serves everything, and its credentials.
const (
	mavenAllURL  = "MAVEN_REPO_URL"
	mavenAllAuth = "MAVEN_REPO_AUTH"
)

// registries reads a struct of variables, of which only those about registries
// count (spec: builders.md section 10, 2026.md section 6).
func (r *reader) registries(key string) registries {
	found := registries{cargo: map[string]registry{}, maven: map[string]registry{}}
	variables := r.stringMap(key)
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		if publisherKey.MatchString(name) {
			continue
		}
		found.wantsMaven = found.wantsMaven || strings.HasPrefix(name, "MAVEN_")
		if err := found.add(name, variables[name]); err != nil {
			r.note(fmt.Errorf("%s.%w", key, err))
		}
	}
	return found
}

// add notes what one variable says. Its error begins with the name.
func (r *registries) add(name, value string) error {
	parts := registryKey.FindStringSubmatch(name)
	if parts == nil && name != mavenAllAuth || value == "" {
		return nil
	}
	if err := checkLine(name, value); err != nil {
		return err
	}
	switch name {
	case mavenAllURL:
		r.mavenAll.url = value
	case mavenAllAuth:
		r.mavenAll = r.withCredentials(r.mavenAll, name, value)
	default:
		into, id := r.cargo, parts[2]
		if parts[1] == "MAVEN" {
			into, id = r.maven, strings.ToLower(id)
		}
		entry := into[id]
		if parts[3] == "URL" {
			entry.url = value
		} else {
			entry = r.withCredentials(entry, name, value)
		}
		into[id] = entry
	}
	return nil
}

func (r *registries) withCredentials(to registry, name, value string) registry {
	if to.user, to.token, _ = strings.Cut(value, ":"); to.token == "" {
		r.wrong = append(r.wrong, fmt.Errorf("environment_variables.%s: expected user:token", name))
	}
	return to
}

// environment tells cargo about its registries.
func (r registries) environment() ([]string, error) {
	if len(r.wrong) > 0 {
		return nil, errors.Join(r.wrong...)
	}
	var environment []string
	for _, name := range slices.Sorted(maps.Keys(r.cargo)) {
		entry := r.cargo[name]
		if entry.url != "" {
			environment = append(environment, "CARGO_REGISTRIES_"+name+"_INDEX="+entry.url)
		}
		if entry.token != "" {
			environment = append(environment, "CARGO_REGISTRIES_"+name+"_TOKEN=Bearer "+entry.token)
		}
	}
	if len(environment) > 0 {
		environment = append(environment, "CARGO_REGISTRY_GLOBAL_CREDENTIAL_PROVIDERS=cargo:token")
	}
	return environment, nil
}
