package builders

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"lpbuildd/ordered"
)

// registries are package registries with credentials, by ecosystem and name.
type registries struct {
	cargo, maven ordered.Map[registry] // in the order in which they were named first
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

// registries reads a struct of variables, of which only those about registries
// count (spec: builders.md section 10).
func (r *reader) registries(key string) registries {
	var found registries
	var cargo, maven ordered.Builder[registry]
	for _, variable := range r.stringMap(key) {
		name, value := variable.Name, variable.Value
		found.wantsMaven = found.wantsMaven || strings.HasPrefix(name, "MAVEN_")
		parts := registryKey.FindStringSubmatch(name)
		if parts == nil {
			continue
		}
		r.note(checkLine(key+"."+name, value))
		into, id := &cargo, parts[2]
		if parts[1] == "MAVEN" {
			into, id = &maven, strings.ToLower(id)
		}
		entry := into.Get(id)
		if parts[3] == "URL" {
			entry.url = value
		} else if entry.user, entry.token, _ = strings.Cut(value, ":"); entry.token == "" {
			found.wrong = append(found.wrong, fmt.Errorf("%s.%s: expected user:token", key, name))
		}
		into.Set(id, entry)
	}
	found.cargo, found.maven = cargo.Map(), maven.Map()
	return found
}

// environment tells cargo about its registries.
func (r registries) environment() ([]string, error) {
	if len(r.wrong) > 0 {
		return nil, errors.Join(r.wrong...)
	}
	var environment []string
	for _, m := range r.cargo {
		name, entry := m.Name, m.Value
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

// configureMaven writes Maven's settings into the checkout, where its plugin
// looks for them. Git is told to overlook them, so that they neither change the
// version that a tool finds out nor become part of what it packs.
func (r registries) configureMaven(ctx context.Context, env Env, s source, checkout string) error {
	if !r.wantsMaven {
		return nil
	}
	settings, err := r.mavenSettings()
	if err != nil {
		return err
	}
	folder := checkout + "/.m2"
	env.secretsIn(folder + "/settings.xml")
	if err := env.inTarget(ctx, "mkdir", "-p", folder); err != nil {
		return err
	}
	if err := env.Target.CopyIn(ctx, bytes.NewReader(settings), folder+"/settings.xml", 0o600); err != nil {
		return fmt.Errorf("cannot write %s/settings.xml in the target: %w", folder, err)
	}
	if s.repository == "" {
		return nil
	}
	return writeText(ctx, env, checkout+"/.git/info/exclude", "/.m2/\n")
}

// The elements of Maven's settings, version 1.0.0.
type (
	mavenSettings struct {
		XMLName  xml.Name       `xml:"settings"`
		XMLNS    string         `xml:"xmlns,attr"`
		XSI      string         `xml:"xmlns:xsi,attr"`
		Schema   string         `xml:"xsi:schemaLocation,attr"`
		Servers  []mavenServer  `xml:"servers>server"`
		Profiles []mavenProfile `xml:"profiles>profile"`
		Mirrors  []mavenMirror  `xml:"mirrors>mirror"`
	}
	mavenServer struct {
		ID       string `xml:"id"`
		Username string `xml:"username"`
		Password string `xml:"password"`
	}
	mavenProfile struct {
		ID           string            `xml:"id"`
		Repositories []mavenRepository `xml:"repositories>repository"`
		Plugins      []mavenRepository `xml:"pluginRepositories>pluginRepository"`
	}
	mavenRepository struct {
		ID        string `xml:"id"`
		Name      string `xml:"name"`
		URL       string `xml:"url"`
		Snapshots bool   `xml:"snapshots>enabled"`
	}
	mavenMirror struct {
		ID       string `xml:"id"`
		Name     string `xml:"name"`
		URL      string `xml:"url"`
		MirrorOf string `xml:"mirrorOf"`
	}
)

// mavenSettings is the document, in the order of declaration.
func (r registries) mavenSettings() ([]byte, error) {
	doc := mavenSettings{
		XMLNS:  "http://maven.apache.org/SETTINGS/1.0.0",
		XSI:    "http://www.w3.org/2001/XMLSchema-instance",
		Schema: "http://maven.apache.org/SETTINGS/1.0.0 http://maven.apache.org/xsd/settings-1.0.0.xsd",
	}
	for _, m := range r.maven {
		id, entry := m.Name, m.Value
		if entry.token != "" {
			for _, server := range []string{id, id + "-snapshots"} {
				doc.Servers = append(doc.Servers, mavenServer{ID: server, Username: entry.user, Password: entry.token})
			}
		}
		if entry.url == "" {
			continue
		}
		both := []mavenRepository{
			{ID: id, Name: id, URL: entry.url},
			{ID: id + "-snapshots", Name: id, URL: entry.url, Snapshots: true},
		}
		doc.Profiles = append(doc.Profiles, mavenProfile{ID: id, Repositories: both, Plugins: both})
		doc.Mirrors = append(doc.Mirrors, mavenMirror{
			ID: id, Name: "Maven Repository Manager running on " + id, URL: entry.url, MirrorOf: "*",
		})
	}
	text, err := xml.MarshalIndent(doc, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("cannot write Maven's settings: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}
