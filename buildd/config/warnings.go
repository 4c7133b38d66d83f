package config

import (
	"fmt"
	"strings"
)

// variablePrefix is how environment variables begin that stand for a key.
const variablePrefix = "LPBUILDD_"

// variable is the environment variable that stands for a key.
func (s Setting) variable() string {
	return variablePrefix + strings.ToUpper(s.Section+"_"+s.Key)
}

// strayVariables lists the environment variables that look as if they stood for
// a key, and have no effect.
func strayVariables(environ []string) []Origin {
	var stray []Origin
	for _, text := range environ {
		name, value, _ := strings.Cut(text, "=")
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		meant, stands := false, false
		var known []string
		for _, s := range Settings() {
			known = append(known, s.variable())
			meant = meant || strings.HasPrefix(name, variablePrefix+strings.ToUpper(s.Section)+"_")
			stands = stands || name == s.variable()
		}
		near := didYouMean(name, known)
		if !stands && (meant || near != "") {
			stray = append(stray, Origin{Key: name, Value: redact(value), From: "environment", Warning: "stands for no key" + near + "; it is ignored"})
		}
	}
	return stray
}

// sectionWarning says what is wrong with the name of a section, "" if nothing.
func sectionWarning(name string) string {
	switch name {
	case "slave":
		return "[slave] is what [builder] was called before version 190 of launchpad-buildd; it is ignored: rename it to [builder]"
	case "snapmanager":
		return "[snapmanager] was dissolved in version 200 of launchpad-buildd; it is ignored: move its proxyport to [builder] and remove it"
	}
	var known []string
	for _, s := range Settings() {
		if s.Section == name {
			return ""
		}
		known = append(known, s.Section)
	}
	return "unknown section" + didYouMean(name, known) + "; it is ignored"
}

// didYouMean suggests the known name nearest to a wrong one, if it is near.
func didYouMean(wrong string, known []string) string {
	best, nearest := "", 3
	for _, name := range known {
		if d := editDistance(strings.ToLower(wrong), strings.ToLower(name)); d < nearest {
			best, nearest = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// editDistance counts the insertions, deletions and replacements of bytes
// between two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
