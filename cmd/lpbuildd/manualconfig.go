package main

import (
	"regexp"
	"strings"
	"time"

	"lpbuildd/buildd/config"
	"lpbuildd/cmd/manpages"
)

// configPage is lpbuildd.conf(5): the words of the example, but for the first
// paragraph, which is about itself, and what the table of settings says.
func configPage(example string, date time.Time) string {
	p := manpages.NewPage("lpbuildd.conf", 5, "lpbuildd "+version, date)
	p.Section("Name")
	p.Text("lpbuildd.conf - configuration of a builder")
	p.Section("Synopsis")
	p.Text("/etc/launchpad-buildd/NAME")
	p.Section("Description")
	section := ""
	for _, b := range exampleBlocks(example)[1:] {
		if b.section != "" {
			if section == "" {
				p.Section("Sections and keys")
			}
			section = b.section
			p.Subsection("[" + section + "]")
		}
		switch {
		case len(b.keys) > 0:
			p.Item(b.keys, strings.TrimSpace(b.text+"\n\n"+facts(section, b.keys)))
		case b.text != "":
			p.Text(b.text)
		}
	}
	p.Section("See also")
	p.Text("lpbuildd(8), lpbuildd-config(8)")
	return p.String()
}

// facts tells about keys what the daemon checks.
func facts(section string, keys []string) string {
	var all []string
	for _, key := range keys {
		for _, s := range config.Settings() {
			if s.Section != section || s.Key != key {
				continue
			}
			fact := s.Key + ": " + s.Want
			if s.Default != "" {
				fact += " (default: " + s.Default + ")"
			}
			all = append(all, fact+".")
		}
	}
	return strings.Join(all, "\n\n")
}

// exampleBlock is a paragraph of the example: a comment, and keys below it.
type exampleBlock struct {
	// section is the name of the section that begins with this block.
	section string
	text    string
	keys    []string
}

// exampleBlocks reads the example. A section begins a block; blank lines separate
// the others.
func exampleBlocks(example string) []exampleBlock {
	section := regexp.MustCompile(`^\[(\w+)\]$`)
	key := regexp.MustCompile(`^#?(\w+) *=`)
	var all []exampleBlock
	for part := range strings.SplitSeq(example, "\n\n") {
		var b exampleBlock
		for line := range strings.Lines(part) {
			line = strings.TrimRight(line, "\n")
			if m := section.FindStringSubmatch(line); m != nil {
				b.section = m[1]
			} else if m := key.FindStringSubmatch(line); m != nil {
				b.keys = append(b.keys, m[1])
			} else {
				b.text += strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ") + "\n"
			}
		}
		all = append(all, b)
	}
	return all
}
