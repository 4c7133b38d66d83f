package craft

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"

	"lpbuildd/builders"
	"lpbuildd/builders/vcs"
)

// configureMaven writes Maven's settings into the checkout, where its plugin
// looks for them. Git is told to overlook them, so that they neither change the
// version that a tool finds out nor become part of what it packs.
func (r registries) configureMaven(ctx context.Context, env builders.Env, s vcs.Source, checkout string) error {
	if !r.wantsMaven {
		return nil
	}
	settings, err := r.mavenSettings()
	if err != nil {
		return err
	}
	folder := checkout + "/.m2"
	env.SecretsIn(folder + "/settings.xml")
	if err := env.InTarget(ctx, "mkdir", "-p", folder); err != nil {
		return err
	}
	if err := env.Target.CopyIn(ctx, bytes.NewReader(settings), folder+"/settings.xml", 0o600); err != nil {
		return fmt.Errorf("cannot write %s/settings.xml in the target: %w", folder, err)
	}
	if !s.IsGit() {
		return nil
	}
	return builders.WriteText(ctx, env, checkout+"/.git/info/exclude", "/.m2/\n")
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
		Active   *mavenActive   `xml:"activeProfiles"`
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
		Releases  *bool  `xml:"releases>enabled"` // nil for Maven's default, which is true
		Snapshots bool   `xml:"snapshots>enabled"`
	}
	mavenActive struct {
		Profile string `xml:"activeProfile"`
	}
	mavenMirror struct {
		ID       string `xml:"id"`
		Name     string `xml:"name"`
		URL      string `xml:"url"`
		MirrorOf string `xml:"mirrorOf"`
	}
)

// mavenAllID names the repository for everything.
const mavenAllID = "repo"

// mavenSettings is the document: first the repository for everything, whose
// mirror must precede the others, then those in the order of declaration.
func (r registries) mavenSettings() ([]byte, error) {
	doc := mavenSettings{
		XMLNS:  "http://maven.apache.org/SETTINGS/1.0.0",
		XSI:    "http://www.w3.org/2001/XMLSchema-instance",
		Schema: "http://maven.apache.org/SETTINGS/1.0.0 http://maven.apache.org/xsd/settings-1.0.0.xsd",
	}
	doc.addRepositoryForAll(r.mavenAll)
	for _, m := range r.maven {
		id, entry := m.Name, m.Value
		// MAVEN_REPO_READ_AUTH counts unless there is MAVEN_REPO_AUTH.
		if entry.token != "" && (id != mavenAllID || r.mavenAll.token == "") {
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
		doc.addMirror(id, entry.url)
	}
	text, err := xml.MarshalIndent(doc, "", "    ")
	if err != nil {
		return nil, fmt.Errorf("cannot write Maven's settings: %w", err)
	}
	return append([]byte(xml.Header), append(text, '\n')...), nil
}

// addMirror makes a repository the one that everything is fetched from, unless
// another one was before it.
func (s *mavenSettings) addMirror(id, url string) {
	s.Mirrors = append(s.Mirrors, mavenMirror{
		ID: id, Name: "Maven Repository Manager running on " + id, URL: url, MirrorOf: "*",
	})
}

// addRepositoryForAll adds the repository for everything, if there is one. Maven
// sends credentials only where server and mirror have the same id. Its profile is
// active, because its users have none to choose.
func (s *mavenSettings) addRepositoryForAll(all registry) {
	if all.token != "" {
		s.Servers = append(s.Servers, mavenServer{ID: mavenAllID, Username: all.user, Password: all.token})
	}
	if all.url == "" {
		return
	}
	enabled := true
	one := []mavenRepository{{ID: mavenAllID, Name: mavenAllID, URL: all.url, Releases: &enabled, Snapshots: true}}
	s.Profiles = append(s.Profiles, mavenProfile{ID: mavenAllID, Repositories: one, Plugins: one})
	s.addMirror(mavenAllID, all.url)
	s.Active = &mavenActive{Profile: mavenAllID}
}
