package builders

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// oneLineSeries are the series whose sources stay in one-line format (spec:
// lifecycle.md section 7.1).
var oneLineSeries = []string{"trusty", "xenial", "bionic", "focal", "jammy"}

// OverrideSources replaces apt's package sources and settings in the target,
// the stage SOURCES (spec: lifecycle.md section 7). aptProxy is the URL of a
// proxy for apt, or "". A line that cannot be used is reported and left out.
// An empty list of archives empties the sources.
func OverrideSources(ctx context.Context, env Env, aptProxy string) error {
	env.say("Overriding sources.list in build-%s", env.Job.BuildID)
	err := overrideSources(ctx, env, aptProxy)
	return blame(ctx, ChrootFail, err,
		"Look at the command above that failed; the base image may lack a program or a folder below /etc/apt.")
}

func overrideSources(ctx context.Context, env Env, aptProxy string) error {
	if slices.Contains(oneLineSeries, env.Common.Series) {
		lines := strings.Join(append(slices.Clone(env.Common.Archives), ""), "\n")
		if err := writeText(ctx, env, "/etc/apt/sources.list", lines); err != nil {
			return err
		}
	} else if err := writeDeb822Sources(ctx, env); err != nil {
		return err
	}
	if withoutUserInfo(aptProxy) != aptProxy {
		env.secretsIn(aptProxySettings)
	}
	for _, file := range aptSettings(aptProxy) {
		if err := writeText(ctx, env, file.path, file.content); err != nil {
			return err
		}
	}
	return nil
}

func writeDeb822Sources(ctx context.Context, env Env) error {
	for _, old := range []string{"/etc/apt/sources.list.d/ubuntu.sources", "/etc/apt/sources.list"} {
		if err := env.inTarget(ctx, "rm", "-f", old); err != nil {
			return fmt.Errorf("cannot remove %s from the target: %w", old, err)
		}
	}
	var stanzas strings.Builder
	for _, line := range env.Common.Archives {
		stanza, unknown := deb822(line)
		if unknown != "" {
			env.say("Unknown option: %s", unknown)
		}
		if stanza == "" {
			env.say("Error parsing source: %s", line)
			env.say("WARNING: the build goes on without this package source.")
		}
		stanzas.WriteString(stanza)
	}
	return writeText(ctx, env, "/etc/apt/sources.list.d/lp-buildd.sources", stanzas.String())
}

type textFile struct{ path, content string }

// aptSettings are the files of spec: lifecycle.md section 7.2.
func aptSettings(aptProxy string) []textFile {
	files := []textFile{
		{"/etc/apt/apt.conf.d/99retries", "Acquire::Retries \"3\";\n"},
		{"/etc/apt/apt.conf.d/99phasing", "APT::Get::Always-Include-Phased-Updates \"true\";\n"},
	}
	if aptProxy != "" {
		files = append(files, textFile{aptProxySettings, fmt.Sprintf("Acquire::http::Proxy \"%s\";\n", aptProxy)})
	}
	for _, pocket := range []string{"proposed", "backports"} {
		pin := "Package: *\nPin: release a=*-" + pocket + "\nPin-Priority: 500\n"
		files = append(files, textFile{"/etc/apt/preferences.d/" + pocket + ".pref", pin})
	}
	return files
}

func writeText(ctx context.Context, env Env, path, content string) error {
	if err := env.Target.CopyIn(ctx, strings.NewReader(content), path, 0o644); err != nil {
		return fmt.Errorf("cannot write %s in the target: %w", path, err)
	}
	return nil
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
