package manpages

import (
	"strconv"
	"strings"
	"time"
)

// Page is a manual page that is being written, in the language of man(7).
type Page struct{ text strings.Builder }

// NewPage begins a page. The source is the program with its version.
func NewPage(name string, section int, source string, date time.Time) *Page {
	p := &Page{}
	p.macro("TH", strings.ToUpper(name), strconv.Itoa(section), date.UTC().Format(time.DateOnly), source, "lpbuildd")
	return p
}

// String is the page so far.
func (p *Page) String() string { return p.text.String() }

// macro writes a line with a macro; arguments are quoted as it needs.
func (p *Page) macro(name string, args ...string) {
	p.text.WriteString("." + name)
	for _, a := range args {
		p.text.WriteString(` "` + strings.ReplaceAll(escape(a), `"`, `\(dq`) + `"`)
	}
	p.text.WriteByte('\n')
}

// line writes a line of text in which nothing is a macro.
func (p *Page) line(text string) {
	text = escape(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	p.text.WriteString(text + "\n")
}

// Section begins a section.
func (p *Page) Section(title string) { p.macro("SH", strings.ToUpper(title)) }

// Subsection begins a part of a section.
func (p *Page) Subsection(title string) { p.macro("SS", title) }

// Text writes paragraphs, which blank lines separate. What is indented stays as
// it is.
func (p *Page) Text(text string) {
	for i, paragraph := range paragraphs(text) {
		if i > 0 {
			p.macro("PP")
		}
		p.paragraph(paragraph)
	}
}

// Item writes a paragraph below one or more words.
func (p *Page) Item(words []string, text string) {
	for i, w := range words {
		p.macro([]string{"TP", "TQ"}[min(i, 1)])
		p.macro("B", w)
	}
	for i, paragraph := range paragraphs(text) {
		if i > 0 {
			p.macro("IP")
		}
		p.paragraph(paragraph)
	}
}

func (p *Page) paragraph(lines []string) {
	verbatim := false
	for _, l := range lines {
		if indented := strings.HasPrefix(l, " ") || strings.HasPrefix(l, "\t"); indented != verbatim {
			verbatim = indented
			p.macro(map[bool]string{true: "nf", false: "fi"}[verbatim])
		}
		p.line(l)
	}
	if verbatim {
		p.macro("fi")
	}
}

// paragraphs splits text at blank lines.
func paragraphs(text string) [][]string {
	var all [][]string
	var now []string
	for l := range strings.Lines(strings.Trim(text, "\n") + "\n\n") {
		l = strings.TrimRight(l, " \n")
		if l != "" {
			now = append(now, l)
		} else if now != nil {
			all, now = append(all, now), nil
		}
	}
	return all
}

// escape makes text mean itself: a hyphen is what people type, too.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`).Replace(text)
}
