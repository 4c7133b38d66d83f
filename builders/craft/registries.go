package craft

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"lpbuildd/builders"
	"lpbuildd/ordered"
)

// registries are package registries with credentials, by ecosystem and name.
type registries struct {
	cargo, maven ordered.Map[registry] // in the order in which they were named first
	// mavenAll is one repository for everything, private packages and others.
	mavenAll registry
	// wantsMaven says that something was said about Maven, be it without effect.
	wantsMaven bool
	// wrong is what is not usable. It fails the build, not the request for it.
	wrong []error
}

// registry is one place that packages come from.
type registry struct{ url, user, token string }

// registryKey takes a variable apart: ecosystem, name of the registry, what it
// says of it. A name may have underscores (weakness O3).
var registryKey = regexp.MustCompile(`^(CARGO|MAVEN)_([^=\s[:cntrl:]]+)_(URL|READ_AUTH)$`)

// The repository that serves everything, and its credentials.
const (
	mavenAllURL  = "MAVEN_REPO_URL"
	mavenAllAuth = "MAVEN_REPO_AUTH"
)

// readRegistries reads a struct of variables, of which only those about registries
// count (spec: builders.md section 10, 2026.md section 6).
func readRegistries(r *builders.Reader, key string) registries {
	var found registries
	var cargo, maven ordered.Builder[registry]
	for _, variable := range r.StringMap(key) {
		name, value := variable.Name, variable.Value
		if builders.IsPublisher(name) {
			continue
		}
		found.wantsMaven = found.wantsMaven || strings.HasPrefix(name, "MAVEN_")
		parts := registryKey.FindStringSubmatch(name)
		if parts == nil && name != mavenAllAuth || value == "" {
			continue
		}
		if err := builders.CheckLine(key+"."+name, value); err != nil {
			r.Note(err)
			continue
		}
		switch {
		case name == mavenAllURL:
			found.mavenAll.url = value
		case name == mavenAllAuth:
			found.mavenAll = found.withCredentials(found.mavenAll, name, value)
		case parts[1] == "MAVEN":
			found.addTo(&maven, strings.ToLower(parts[2]), name, value)
		default:
			found.addTo(&cargo, parts[2], name, value)
		}
	}
	found.cargo, found.maven = cargo.Map(), maven.Map()
	return found
}

// addTo notes what one variable says of a registry.
func (r *registries) addTo(into *ordered.Builder[registry], id, name, value string) {
	entry := into.Get(id)
	if strings.HasSuffix(name, "_URL") {
		entry.url = value
	} else {
		entry = r.withCredentials(entry, name, value)
	}
	into.Set(id, entry)
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
	for _, cargo := range r.cargo {
		name, entry := cargo.Name, cargo.Value
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
