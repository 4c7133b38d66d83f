package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// defaultSection is the section whose keys every other section inherits.
const defaultSection = "DEFAULT"

// iniOption is one key of a section with its value as written: not
// interpolated, continuation lines joined by newlines.
type iniOption struct {
	key, value string
	line       int
}

// iniSection is one section. Its name is case-sensitive, its keys are not and
// are kept in lower case.
type iniSection struct {
	name    string
	line    int
	options []iniOption
}

// iniFile is a parsed file. The first section holds the inherited keys of
// [DEFAULT], whether or not the file has that section.
type iniFile struct {
	sections []iniSection
}

// section returns a section by its name, nil if the file has none.
func (f *iniFile) section(name string) *iniSection {
	for i := range f.sections {
		if f.sections[i].name == name {
			return &f.sections[i]
		}
	}
	return nil
}

// option returns the option of a section, or the one it inherits.
func (f *iniFile) option(section, key string) (iniOption, bool) {
	s := f.section(section)
	if s == nil {
		return iniOption{}, false
	}
	for _, in := range []*iniSection{s, &f.sections[0]} {
		if o := in.option(key); o != nil {
			return *o, true
		}
	}
	return iniOption{}, false
}

// String writes the file so that parsing it gives an equal file, without
// comments.
func (f *iniFile) String() string {
	var b strings.Builder
	for i, s := range f.sections {
		if i == 0 && len(s.options) == 0 {
			continue
		}
		fmt.Fprintf(&b, "[%s]\n", s.name)
		for _, o := range s.options {
			fmt.Fprintf(&b, "%s = %s\n", o.key, strings.ReplaceAll(o.value, "\n", "\n\t"))
		}
	}
	return b.String()
}

// option returns an option of the section itself, nil if there is none.
func (s *iniSection) option(key string) *iniOption {
	for i := range s.options {
		if s.options[i].key == key {
			return &s.options[i]
		}
	}
	return nil
}

// iniError is a problem in one line of a file.
type iniError struct {
	line int
	text string
}

// Error names the line.
func (e *iniError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// iniReader is the state of parseINI between two lines. The two indices are
// -1 while there is no section, or no option that a line could continue.
type iniReader struct {
	file            iniFile
	section, option int
	indent, line    int
	problems        []error
}

// parseINI reads the syntax of Python's ConfigParser in its strict default
// form (spec: packaging.md section 2). All problems are reported, each an
// *iniError.
func parseINI(data []byte) (*iniFile, error) {
	r := iniReader{section: -1, option: -1}
	r.file.sections = []iniSection{{name: defaultSection}}
	if !utf8.Valid(data) {
		return &r.file, &iniError{line: 1, text: "the file is not UTF-8 text"}
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r", "\n"), "\n") {
		r.line++
		r.read(line)
	}
	for _, s := range r.file.sections {
		for i := range s.options {
			s.options[i].value = strings.TrimRightFunc(s.options[i].value, isSpace)
		}
	}
	return &r.file, errors.Join(r.problems...)
}

// read handles one line. An indented line continues the value above it,
// whatever it looks like; comments do not end a value, and neither do empty
// lines.
func (r *iniReader) read(line string) {
	text := strings.TrimFunc(line, isSpace)
	if strings.HasPrefix(text, "#") || strings.HasPrefix(text, ";") {
		return
	}
	indent := utf8.RuneCountInString(line) - utf8.RuneCountInString(strings.TrimLeftFunc(line, isSpace))
	if r.option >= 0 && (text == "" || indent > r.indent) {
		o := &r.file.sections[r.section].options[r.option]
		o.value += "\n" + text
		return
	}
	if text == "" {
		return
	}
	r.indent = indent
	if end := strings.LastIndexByte(text, ']'); text[0] == '[' && end > 1 {
		r.startSection(text[1:end])
		return
	}
	r.startOption(text)
}

// startSection begins a section; [DEFAULT] may be continued, others may not.
func (r *iniReader) startSection(name string) {
	r.option = -1
	r.section = slices.IndexFunc(r.file.sections, func(s iniSection) bool { return s.name == name })
	switch {
	case r.section > 0:
		r.problem("the section [%s] is there twice, the first is in line %d", name, r.file.sections[r.section].line)
	case r.section < 0:
		r.section = len(r.file.sections)
		r.file.sections = append(r.file.sections, iniSection{name: name, line: r.line})
	}
}

// startOption begins a key and its value.
func (r *iniReader) startOption(text string) {
	r.option = -1
	if r.section < 0 {
		r.problem("%q comes before the first [section]", redact(text))
		return
	}
	at := strings.IndexAny(text, "=:")
	if at <= 0 {
		r.problem("%q is neither a [section], nor key = value", redact(text))
		return
	}
	s := &r.file.sections[r.section]
	key := strings.ToLower(strings.TrimRightFunc(text[:at], isSpace))
	if first := s.option(key); first != nil {
		r.problem("the key %s is twice in [%s], the first is in line %d", key, s.name, first.line)
		return
	}
	r.option = len(s.options)
	s.options = append(s.options, iniOption{key: key, value: strings.TrimFunc(text[at+1:], isSpace), line: r.line})
}

// problem records what is wrong with the current line.
func (r *iniReader) problem(format string, args ...any) {
	r.problems = append(r.problems, &iniError{line: r.line, text: fmt.Sprintf(format, args...)})
}

// isSpace is Python's idea of white space, which includes four control
// characters that Go's does not.
func isSpace(c rune) bool { return unicode.IsSpace(c) || (c >= 0x1c && c <= 0x1f) }

// redact removes the user name and password of every URL in a text. It takes
// away too much rather than too little when an @ is elsewhere in the URL.
func redact(text string) string {
	return regexp.MustCompile(`://\S*@`).ReplaceAllString(text, "://[redacted]@")
}
