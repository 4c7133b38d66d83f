package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// Limits of interpolation: the depth is ConfigParser's; the length stops
// values that multiply themselves.
const (
	maxExpandDepth  = 10
	maxExpandLength = 64 << 10
)

// expand returns the value of an option with %% and %(name)s replaced. Names
// are looked up in the section, then in [DEFAULT].
func (f *iniFile) expand(section string, o iniOption) (string, error) {
	var b strings.Builder
	if err := f.expandInto(&b, section, o.value, 1); err != nil {
		return "", err
	}
	return b.String(), nil
}

// expandInto appends the expanded value.
func (f *iniFile) expandInto(b *strings.Builder, section, value string, depth int) error {
	if depth > maxExpandDepth {
		return fmt.Errorf("%%(name)s is nested more than %d deep", maxExpandDepth)
	}
	for {
		plain, rest, found := strings.Cut(value, "%")
		b.WriteString(plain)
		if b.Len() > maxExpandLength {
			return fmt.Errorf("the value is longer than %d bytes", maxExpandLength)
		}
		if !found {
			return nil
		}
		if after, ok := strings.CutPrefix(rest, "%"); ok {
			b.WriteByte('%')
			value = after
			continue
		}
		name, after, ok := cutReference(rest)
		if !ok {
			return fmt.Errorf("%q is neither %%%% nor %%(name)s; write %%%% for a percent sign", "%"+rest[:min(len(rest), 1)])
		}
		o, ok := f.option(section, strings.ToLower(name))
		if !ok {
			return fmt.Errorf("%%(%s)s names a key that is neither in [%s] nor in [%s]", name, section, defaultSection)
		}
		if err := f.expandInto(b, section, o.value, depth+1); err != nil {
			return err
		}
		value = after
	}
}

// cutReference splits "(name)s rest" into name and rest.
func cutReference(s string) (name, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "(")
	if !ok {
		return "", "", false
	}
	end := strings.IndexByte(s, ')')
	if end < 1 || !strings.HasPrefix(s[end+1:], "s") {
		return "", "", false
	}
	return s[:end], s[end+2:], true
}

// iniDecoder lets viper read the INI files of ConfigParser. It keeps the
// parsed file, for the line numbers, and is therefore good for one file only.
type iniDecoder struct {
	file *iniFile
	// broken are the values that cannot be expanded, by "section.key". They
	// only matter if somebody asks for them.
	broken map[string]error
}

// Decoder makes iniDecoder viper's registry of formats, with the one format
// "ini".
func (d *iniDecoder) Decoder(format string) (viper.Decoder, error) {
	if format != "ini" {
		return nil, fmt.Errorf("cannot read configurations in format %q", format)
	}
	return d, nil
}

// Decode fills v with a map per section. Sections with upper case letters or
// dots are left out: none of ours has them, but viper would mix them up.
func (d *iniDecoder) Decode(data []byte, v map[string]any) error {
	file, err := parseINI(data)
	d.file, d.broken = file, map[string]error{}
	if err != nil {
		return err
	}
	for _, s := range file.sections[1:] {
		if s.name != strings.ToLower(s.name) || strings.Contains(s.name, ".") {
			continue
		}
		v[s.name] = d.values(s)
	}
	return nil
}

// values returns the expanded values of a section and of what it inherits.
func (d *iniDecoder) values(s iniSection) map[string]any {
	values := map[string]any{}
	for _, o := range slices.Concat(d.file.sections[0].options, s.options) {
		key := s.name + "." + o.key
		delete(d.broken, key)
		value, err := d.file.expand(s.name, o)
		if err != nil {
			d.broken[key] = err
			value = o.value
		}
		values[o.key] = value
	}
	return values
}
