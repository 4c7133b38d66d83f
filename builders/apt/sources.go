package apt

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
	"lpbuildd/builders/credentials"
)

// oneLineSeries are the series whose sources stay in one-line format (spec:
// lifecycle.md section 7.1).
var oneLineSeries = []string{"trusty", "xenial", "bionic", "focal", "jammy"}

// OverrideSources replaces apt's package sources and settings in the target,
// the stage SOURCES (spec: lifecycle.md section 7). aptProxy is the URL of a
// proxy for apt, or "". A line that cannot be used is reported and left out.
// An empty list of archives empties the sources. All sources of the image go, not
// only those that the reference removes.
func OverrideSources(ctx context.Context, env builders.Env, aptProxy string) error {
	env.Say("Overriding sources.list in build-%s", env.Job.BuildID)
	err := overrideSources(ctx, env, aptProxy)
	return builders.Blame(ctx, verdict.ChrootFail, err,
		"Look at the command above that failed; the base image may lack a program or a folder below /etc/apt.")
}

func overrideSources(ctx context.Context, env builders.Env, aptProxy string) error {
	if err := removeSources(ctx, env); err != nil {
		return err
	}
	sources := textFile{sourcesParts + "lp-buildd.sources", ""}
	if slices.Contains(oneLineSeries, env.Common.Series) {
		sources = textFile{sourcesList, strings.Join(append(slices.Clone(env.Common.Archives), ""), "\n")}
	} else {
		sources.content = deb822Sources(env)
	}
	if credentials.Without(aptProxy) != aptProxy {
		env.SecretsIn(ProxySettings)
	}
	for _, file := range append([]textFile{sources}, aptSettings(aptProxy)...) {
		if err := builders.WriteText(ctx, env, file.path, file.content); err != nil {
			return err
		}
	}
	return nil
}

// ProxySettings is the file in the target with apt's proxy. The stage SOURCES writes
// it, and a build with a fetch service later; the later one wins.
const ProxySettings = "/etc/apt/apt.conf.d/99proxy"

const (
	sourcesList  = "/etc/apt/sources.list"
	sourcesParts = "/etc/apt/sources.list.d/" // with the slash also where it is a link
)

// sourcesFile is the name of a file that apt reads package sources from.
var sourcesFile = regexp.MustCompile(`^[A-Za-z0-9_.-]+\.(list|sources)$`)

// removeSources takes away all package sources that the image came with: the
// build has those of the request, and nothing else.
func removeSources(ctx context.Context, env builders.Env) error {
	old, err := imageSources(ctx, env)
	if err != nil || len(old) == 0 {
		return err
	}
	env.Say("Removing the package sources of the base image: %s", strings.Join(old, " "))
	if err := env.InTarget(ctx, append([]string{"rm", "-f"}, old...)...); err != nil {
		return fmt.Errorf("cannot remove the package sources of the base image: %w", err)
	}
	return nil
}

// imageSources are the files with package sources in the target.
func imageSources(ctx context.Context, env builders.Env) ([]string, error) {
	var files []string
	there, err := backends.Exists(ctx, env.Target, sourcesList)
	if err != nil {
		return nil, err
	}
	if there {
		files = append(files, sourcesList)
	}
	names, err := sourcesPartsOf(ctx, env)
	for _, name := range names {
		if sourcesFile.MatchString(name) {
			files = append(files, sourcesParts+name)
		}
	}
	return files, err
}

// sourcesPartsOf lists the folder of package sources, and makes it if there is
// none, or a link to nowhere.
func sourcesPartsOf(ctx context.Context, env builders.Env) ([]string, error) {
	is, err := backends.IsDir(ctx, env.Target, sourcesParts)
	switch {
	case err != nil:
		return nil, err
	case is:
		// The names of folders end in a slash. Small images have no find.
		names, err := backends.Output(ctx, env.Target, backends.Command{Argv: []string{"ls", "-Ap", sourcesParts}, Stderr: env.Log})
		if err != nil {
			return nil, fmt.Errorf("cannot list %s in the target: %w", sourcesParts, err)
		}
		return strings.Split(string(names), "\n"), nil
	}
	for _, argv := range [][]string{{"rm", "-f", strings.TrimSuffix(sourcesParts, "/")}, {"mkdir", sourcesParts}} {
		if err := env.InTarget(ctx, argv...); err != nil {
			return nil, fmt.Errorf("cannot make %s in the target: %w", sourcesParts, err)
		}
	}
	return nil, nil
}

// deb822Sources are the archives of the build, as far as they can be used.
func deb822Sources(env builders.Env) string {
	var stanzas strings.Builder
	for _, line := range env.Common.Archives {
		stanza, unknown := deb822(line)
		if unknown != "" {
			env.Say("Unknown option: %s", unknown)
		}
		if stanza == "" {
			env.Say("Error parsing source: %s", line)
			env.Say("WARNING: the build goes on without this package source.")
		}
		stanzas.WriteString(stanza)
	}
	return stanzas.String()
}

type textFile struct{ path, content string }

// aptSettings are the files of spec: lifecycle.md section 7.2.
func aptSettings(aptProxy string) []textFile {
	files := []textFile{
		{"/etc/apt/apt.conf.d/99retries", "Acquire::Retries \"3\";\n"},
		{"/etc/apt/apt.conf.d/99phasing", "APT::Get::Always-Include-Phased-Updates \"true\";\n"},
	}
	if aptProxy != "" {
		files = append(files, textFile{ProxySettings, fmt.Sprintf("Acquire::http::Proxy \"%s\";\n", aptProxy)})
	}
	for _, pocket := range []string{"proposed", "backports"} {
		pin := "Package: *\nPin: release a=*-" + pocket + "\nPin-Priority: 500\n"
		files = append(files, textFile{"/etc/apt/preferences.d/" + pocket + ".pref", pin})
	}
	return files
}

// sourceLine decides which one-line sources can be used (spec: lifecycle.md
// section 7.1).
var sourceLine = regexp.MustCompile(`^(?: *(deb|deb-src)) +(\[.+\] ?)*(\w+://\S+) +(\S+)(?: +(.*))?$`)

// sourceOptions maps options of the one-line format to deb822 fields.
var sourceOptions = map[string]string{
	"arch":                        "Architectures",
	"signed-by":                   "Signed-By",
	"lang":                        "Languages",
	"target":                      "Targets",
	"trusted":                     "Trusted",
	"by-hash":                     "By-Hash",
	"pdiffs":                      "PDiffs",
	"allow-insecure":              "Allow-Insecure",
	"allow-weak":                  "Allow-Weak",
	"allow-downgrade-to-insecure": "Allow-Downgrade-To-Insecure",
	"snapshot":                    "Snapshot",
	"inrelease-path":              "InRelease-Path",
	"check-valid-until":           "Check-Valid-Until",
	"valid-until-min":             "Valid-Until-Min",
	"valid-until-max":             "Valid-Until-Max",
	"check-date":                  "Check-Date",
	"date-max-future":             "Date-Max-Future",
}

// deb822 turns a one-line source into a stanza with the empty line that ends
// it. The stanza is "" if the line cannot be used; unknownOption then names
// the option that is the reason, if one is.
func deb822(line string) (stanza, unknownOption string) {
	m := sourceLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
	if m == nil {
		return "", ""
	}
	kind, options, uri, suite, components := m[1], m[2], m[3], m[4], m[5]
	var b strings.Builder
	fmt.Fprintf(&b, "Types: %s\nURIs: %s\nEnabled: yes\nSuites: %s\n", kind, uri, suite)
	if words := distinctWords(components); len(words) > 0 {
		fmt.Fprintf(&b, "Components: %s\n", strings.Join(words, " "))
	}
	for _, o := range parseSourceOptions(options) {
		field, ok := sourceOptions[o.key]
		if !ok {
			return "", o.key
		}
		fmt.Fprintf(&b, "%s: %s\n", field, o.value)
	}
	b.WriteByte('\n')
	return b.String(), ""
}

type sourceOption struct{ key, value string }

// parseSourceOptions reads bracketed options. A key given twice keeps its
// place and has its last value.
func parseSourceOptions(text string) []sourceOption {
	var list []sourceOption
	for piece := range strings.SplitSeq(strings.NewReplacer("[", "", "]", "").Replace(text), " ") {
		key, value, ok := strings.Cut(piece, "=")
		if !ok {
			continue
		}
		same := func(o sourceOption) bool { return o.key == key }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].value = value
			continue
		}
		list = append(list, sourceOption{key, value})
	}
	return list
}

// distinctWords splits at spaces, and drops words that were there before.
func distinctWords(text string) []string {
	var words []string
	for word := range strings.SplitSeq(text, " ") {
		if word != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}
