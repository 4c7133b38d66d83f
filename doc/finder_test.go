package doc

import (
	"fmt"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// text is what belongs together in a file, such as the lines of one comment, joined
// by blanks. A citation may be broken anywhere in it.
type text struct {
	words strings.Builder
	lines []int // the number of the line that each byte is from
}

func (t *text) add(number int, line string) {
	line = strings.TrimSpace(line) + " "
	t.words.WriteString(line)
	t.lines = append(t.lines, slices.Repeat([]int{number}, len(line))...)
}

// textsOf takes a file apart, by its name: the comments of Go, the paragraphs of
// Markdown, the comments with "#" of anything else.
func textsOf(name, content string) ([]*text, error) {
	switch path.Ext(name) {
	case ".go":
		return goComments(name, content)
	case ".md":
		return paragraphs(content), nil
	}
	return hashComments(content), nil
}

func goComments(name, content string) ([]*text, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var texts []*text
	for _, group := range file.Comments {
		t := &text{}
		for _, comment := range group.List {
			first := files.Position(comment.Pos()).Line
			for i, line := range strings.Split(comment.Text, "\n") {
				t.add(first+i, strings.TrimSuffix(strings.TrimLeft(line, "/* \t"), "*/"))
			}
		}
		texts = append(texts, t)
	}
	return texts, nil
}

// paragraphs end at empty lines; a row of a table and a heading stand alone.
func paragraphs(content string) []*text {
	alone := func(line string) bool { return strings.HasPrefix(line, "|") || strings.HasPrefix(line, "#") }
	return grouped(content, func(line string) (string, bool) { return line, line != "" }, alone)
}

func hashComments(content string) []*text {
	comment := func(line string) (string, bool) {
		_, rest, ok := strings.Cut(line, "#")
		return rest, ok
	}
	return grouped(content, comment, func(string) bool { return false })
}

// grouped makes a text of each run of lines that are part of one.
func grouped(content string, part func(line string) (string, bool), alone func(line string) bool) []*text {
	var texts []*text
	var open *text
	for i, line := range strings.Split(content, "\n") {
		line = strings.TrimSpace(line)
		words, ok := part(line)
		if !ok || open == nil || alone(line) {
			open = nil
		}
		if !ok {
			continue
		}
		if open == nil {
			open = &text{}
			texts = append(texts, open)
		}
		open.add(i+1, words)
		if alone(line) {
			open = nil
		}
	}
	return texts
}

const (
	number = `\d{1,2}(?:\.\d+)*\b`
	list   = `sections? (` + number + `(?:(?:,| and| to|, and) ` + number + `)*)`
)

var (
	// citation is a chapter, perhaps with sections, sections alone, or a "spec:" that
	// nothing of it follows.
	citation = regexp.MustCompile(`(?i)\b(?:(spec: *)?\b([a-z0-9]+\.md)\b(?:,? ` + list + `)?|(spec:)|` + list + `)`)
	between  = regexp.MustCompile(`(?:,| and| to|, and) `)
	weakness = regexp.MustCompile(`\bweakness(?:es)?(?:\.md)? (` + ids + `)`)
	// marked is how chapters name weaknesses.
	marked  = regexp.MustCompile(`\((` + ids + `)\)`)
	heading = regexp.MustCompile(`^#+ (?:(` + number + `)\.? )`)
	row     = regexp.MustCompile(`^\| (` + ids + `) \|`)
	idRange = regexp.MustCompile(`^([A-R])(\d+)–[A-R](\d+)$`)
	// foreign sections are those of standards.
	foreign = regexp.MustCompile(`RFC \d+,? $`)
)

// ids are numbers of weaknesses, also with ranges.
const ids = `[A-R]\d{1,2}(?:(?:, |–)[A-R]\d{1,2})*`

// specification is what can be cited: the sections of each chapter, and the
// weaknesses.
type specification struct {
	sections   map[string]map[string]bool
	weaknesses map[string]bool
}

// chapter adds a file of the specification.
func (s *specification) chapter(name, content string) {
	s.sections[name] = map[string]bool{}
	for line := range strings.Lines(content) {
		if found := heading.FindStringSubmatch(line); found != nil {
			s.sections[name][found[1]] = true
		}
		if found := row.FindStringSubmatch(line); found != nil {
			for _, id := range weaknessesIn(found[1]) {
				s.weaknesses[id] = true
			}
		}
	}
}

// problem is a citation that leads nowhere.
type problem struct {
	line int
	what string
}

// problemsIn judges one text. Sections without a chapter are those of home, the
// chapter that the text is in, or outside of the specification, where that is "",
// those of the chapter that was named last.
func (s *specification) problemsIn(t *text, home string) []problem {
	var problems []problem
	words := t.words.String()
	if home == "" && !cites(words) {
		return nil
	}
	note := func(at int, format string, args ...any) {
		problems = append(problems, problem{t.lines[at], fmt.Sprintf(format, args...)})
	}
	chapter := home
	for _, m := range citation.FindAllStringSubmatchIndex(words, -1) {
		group := func(n int) string {
			if m[2*n] < 0 {
				return ""
			}
			return words[m[2*n]:m[2*n+1]]
		}
		spec, name, list := group(1)+group(4), group(2), group(3)+group(5)
		quoted := m[1] < len(words) && strings.ContainsRune("\"`", rune(words[m[1]]))
		switch {
		case spec != "" && name == "" && !quoted:
			note(m[0], "spec: is not followed by a chapter")
			continue
		case name != "" && s.sections[name] == nil && spec != "":
			note(m[0], "there is no chapter %s", name)
			continue
		case name != "":
			chapter = name
		case home != "":
			chapter = home
		case foreign.MatchString(words[:m[0]]):
			continue
		}
		if list == "" || s.sections[chapter] == nil && chapter != "" {
			continue
		}
		if chapter == "" {
			note(m[0], "section %s of which chapter?", list)
			continue
		}
		for _, section := range sectionsIn(list) {
			if !s.sections[chapter][section] {
				note(m[0], "%s has no section %s", chapter, section)
			}
		}
	}
	patterns := []*regexp.Regexp{weakness}
	if home != "" {
		patterns = append(patterns, marked)
	}
	for _, pattern := range patterns {
		for _, m := range pattern.FindAllStringSubmatchIndex(words, -1) {
			for _, id := range weaknessesIn(words[m[2]:m[3]]) {
				if !s.weaknesses[id] {
					note(m[2], "there is no weakness %s", id)
				}
			}
		}
	}
	return problems
}

// cites says quickly whether it is worth looking at a text.
func cites(words string) bool {
	words = strings.ToLower(words)
	return slices.ContainsFunc([]string{".md", "spec:", "section", "weakness"}, func(s string) bool { return strings.Contains(words, s) })
}

// sectionsIn takes a list of sections apart; "8 to 10" is three.
func sectionsIn(list string) []string {
	numbers := between.Split(list, -1)
	if len(numbers) == 2 && strings.Contains(list, " to ") {
		return span("", numbers[0], numbers[1])
	}
	return numbers
}

// weaknessesIn takes a list of weaknesses apart; "F1–F6" is six.
func weaknessesIn(list string) []string {
	var all []string
	for id := range strings.SplitSeq(list, ", ") {
		if found := idRange.FindStringSubmatch(id); found != nil {
			all = append(all, span(found[1], found[2], found[3])...)
			continue
		}
		all = append(all, id)
	}
	return all
}

// span is what is numbered from one to the other; if they are no integers, these two.
func span(prefix, from, to string) []string {
	first, err := strconv.Atoi(from)
	last, lastErr := strconv.Atoi(to)
	if err != nil || lastErr != nil {
		return []string{prefix + from, prefix + to}
	}
	var all []string
	for n := first; n <= last; n++ {
		all = append(all, prefix+strconv.Itoa(n))
	}
	return all
}
