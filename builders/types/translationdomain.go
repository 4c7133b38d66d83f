package types

import (
	"regexp"
	"strings"
)

// domainFiles are where a translation domain is defined, relative to the folder
// of the translations, in the order in which they are read, and the variable
// that defines it there (spec: builders.md section 4.1).
func domainFiles() []struct {
	name, variable string
	last           bool // whether a definition before or in it ends the search
} {
	return []struct {
		name, variable string
		last           bool
	}{
		{"../configure.ac", "GETTEXT_PACKAGE", false},
		{"../configure.in", "GETTEXT_PACKAGE", false},
		{"Makefile.in.in", "GETTEXT_PACKAGE", true},
		{"Makevars", "DOMAIN", true},
	}
}

// translationDomain finds the translation domain of a folder; "" means that
// there is none. Read returns the content of a file relative to the folder, and
// whether there is one.
func translationDomain(read func(name string) (string, bool, error)) (string, error) {
	var files []string // those read so far, latest first
	domain := ""
	for _, f := range domainFiles() {
		text, exists, err := read(f.name)
		if err != nil {
			return "", err
		}
		if !exists {
			continue
		}
		text = strings.ToValidUTF8(text, "\uFFFD")
		value, defined := variable(text, f.variable)
		if defined {
			var ok bool
			if domain, ok = expand(value, f.variable, text, files); !ok {
				return "", nil
			}
		}
		files = append([]string{text}, files...)
		if f.last && domain != "" {
			return domain, nil
		}
	}
	return domain, nil
}

// variable reads a variable's first definition in a file.
func variable(text, name string) (string, bool) {
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + `[ \t]*=[ \t]*([^\s]*)`).FindStringSubmatch(text)
	if found == nil {
		return "", false
	}
	return unquote(found[1]), true
}

// unquote takes one layer of quotes away.
func unquote(s string) string {
	for _, pair := range []string{`""`, `''`, `[]`} {
		if len(s) >= 2 && s[0] == pair[0] && s[len(s)-1] == pair[1] {
			return s[1 : len(s)-1]
		}
	}
	return s
}

var (
	initCall = regexp.MustCompile(`(?m)^AC_INIT\(([^)]*)\)`)
	atName   = regexp.MustCompile(`@([^@]+)@`)
	makeName = regexp.MustCompile(`\$\(?([^\s\)]+)\)?`)
)

// initName is the package name in the AC_INIT call of a file, or "".
func initName(text string) string {
	call := initCall.FindStringSubmatch(text)
	if call == nil {
		return ""
	}
	parameters := strings.Split(call[1], ",")
	name := 0
	switch {
	case len(parameters) < 2:
		return ""
	case len(parameters) >= 4:
		name = 3
	}
	return unquote(strings.TrimSpace(parameters[name]))
}

// expand replaces what a value refers to; false ends the search.
func expand(value, name, text string, earlier []string) (string, bool) {
	if strings.Contains(value, "AC_PACKAGE_NAME") {
		found := initName(text)
		if found == "" {
			return "", true // a later file may still say it
		}
		return strings.ReplaceAll(value, "AC_PACKAGE_NAME", found), true
	}
	reference := atName.FindStringSubmatch(value)
	if reference == nil {
		reference = makeName.FindStringSubmatch(value)
	}
	if reference == nil {
		return value, true
	}
	found, ok := lookup(reference[1], name, text, earlier)
	return strings.ReplaceAll(value, reference[0], found), ok
}

// lookup finds a variable in the files read so far, latest first. The current
// one does not define a variable by itself.
func lookup(wanted, name, text string, earlier []string) (string, bool) {
	files := earlier
	if wanted != name {
		files = append([]string{text}, earlier...)
	}
	for _, file := range files {
		if value, ok := variable(file, wanted); ok {
			return value, true
		}
		if wanted == "PACKAGE" {
			if value := initName(file); value != "" {
				return value, true
			}
		}
	}
	return "", false
}
