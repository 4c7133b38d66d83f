// Package debian is run by the worker of a build, root inside the build's namespaces: it
// builds Debian packages with sbuild, the type binarypackage. Through builders.Env it
// touches the target, and on the host schroot's folder and, as the build user, sbuild.
package debian

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lpbuildd/builders"
)

// binaryPackage builds a Debian source package with sbuild (spec: builders.md
// section 2).
type binaryPackage struct {
	suite        string
	component    string
	purpose      string // "" if none was given
	archIndep    bool
	debugSymbols bool
	dsc          string // the name of an input file
}

// New reads the arguments of a package, whose .dsc is among the input files.
func New(args builders.Args, files []string) (builders.Builder, error) {
	r := builders.NewReader(args)
	b := &binaryPackage{
		suite:        r.Required("suite"),
		component:    r.Required("ogrecomponent"),
		purpose:      r.Optional("archive_purpose", ""),
		archIndep:    r.Bool("arch_indep"),
		debugSymbols: r.Bool("build_debug_symbols"),
	}
	dsc, err := findDsc(files)
	r.Note(err)
	b.dsc = dsc
	return b, r.Err()
}

// findDsc returns the .dsc among the input files; of several, the last (spec:
// builders.md section 2.1).
func findDsc(files []string) (string, error) {
	dsc := ""
	for _, name := range files {
		if strings.HasSuffix(name, ".dsc") {
			dsc = name
		}
	}
	if dsc == "" {
		return "", errors.New("filemap: a file whose name ends in .dsc is required")
	}
	return dsc, nil
}

// currentlyBuilding is what pkgbinarymangler and others in the target read. No
// purpose means no such line (weakness K7).
func (b *binaryPackage) currentlyBuilding() string {
	source, _, _ := strings.Cut(b.dsc, "_")
	text := fmt.Sprintf("Package: %s\nComponent: %s\nSuite: %s\n", source, b.component, b.suite)
	if b.purpose != "" {
		text += "Purpose: " + b.purpose + "\n"
	}
	if b.debugSymbols {
		text += "Build-Debug-Symbols: yes\n"
	}
	return text
}

// buildOptions is the environment variable DEB_BUILD_OPTIONS, if it is needed.
func (b *binaryPackage) buildOptions(env builders.Env) []string {
	var options []string
	if !b.debugSymbols {
		options = append(options, "noautodbgsym")
	}
	if n := jobs(env); n > 1 {
		options = append(options, fmt.Sprintf("parallel=%d", n))
	}
	if len(options) == 0 {
		return nil
	}
	return []string{"DEB_BUILD_OPTIONS=" + strings.Join(options, " ")}
}

func jobs(env builders.Env) int { return max(1, env.CPUs) }

// hasSeries reports whether a suite belongs to one of the series, in whichever
// pocket.
func hasSeries(suite string, series []string) bool {
	return slices.ContainsFunc(series, func(s string) bool { return strings.HasPrefix(suite, s) })
}
