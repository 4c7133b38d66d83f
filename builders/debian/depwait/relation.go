package depwait

import "strings"

// relation is one dependency on one package (spec: builders.md section 2.8).
type relation struct {
	// name is the package's name, or the whole text if it does not fit the
	// grammar; then everything else is empty.
	name string
	// op and version are both set or both empty.
	op, version string
	// archs is nil if there is no architecture list.
	archs []string
	// profiles holds the terms of each restriction list, with their "!".
	profiles [][]string
}

// String is the stripped form: without qualifier, architectures and profiles.
func (r relation) String() string {
	if r.op == "" {
		return r.name
	}
	return r.name + " (" + r.op + " " + r.version + ")"
}

// wellFormed is false for a text that does not fit the grammar.
func (r relation) wellFormed() bool {
	for i := range len(r.name) {
		if !nameByte(r.name[i]) {
			return false
		}
	}
	return r.name != ""
}

// group is a list of alternatives, never empty.
type group []relation

// String is the stripped form.
func (g group) String() string {
	texts := make([]string, len(g))
	for i, r := range g {
		texts[i] = r.String()
	}
	return strings.Join(texts, " | ")
}

// Strip removes qualifiers, architectures and profiles from a dependency field
// and formats the rest as spec: builders.md section 2.8 says. Text that is no
// relation is kept, empty relations are not. It does not check that a manager
// can use the result.
func Strip(depends string) string { return format(parseGroups(depends)) }

func format(groups []group) string {
	texts := make([]string, len(groups))
	for i, g := range groups {
		texts[i] = g.String()
	}
	return strings.Join(texts, ", ")
}

// parseGroups reads a dependency field. Empty groups and empty alternatives,
// as a trailing comma makes, do not count.
func parseGroups(field string) []group {
	var groups []group
	for text := range strings.SplitSeq(field, ",") {
		if g := parseGroup(text); len(g) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

func parseGroup(text string) group {
	var g group
	for alternative := range strings.SplitSeq(text, "|") {
		if alternative = strings.TrimFunc(alternative, blank); alternative != "" {
			g = append(g, parseRelation(alternative))
		}
	}
	return g
}

// parseRelation reads one relation without blanks around it.
func parseRelation(text string) relation {
	c := cursor{rest: text}
	var r relation
	r.name = c.word(alphanumeric, nameByte)
	if c.accept(':') {
		c.word(alphanumeric, qualifierByte)
	}
	c.blanks()
	if c.accept('(') {
		r.op, r.version = c.constraint()
	}
	c.blanks()
	if c.accept('[') {
		r.archs = c.list(archByte, ']')
	}
	c.blanks()
	for c.accept('<') {
		terms := c.list(profileByte, '>')
		c.failed = c.failed || len(terms) == 0
		r.profiles = append(r.profiles, terms)
		c.blanks()
	}
	if c.failed || c.rest != "" {
		return relation{name: text}
	}
	return r
}

// cursor reads a text from its start. After a failure it reads nothing useful.
type cursor struct {
	rest   string
	failed bool
}

func (c *cursor) blanks() { c.rest = strings.TrimLeftFunc(c.rest, blank) }

func (c *cursor) accept(b byte) bool {
	if c.rest == "" || c.rest[0] != b {
		return false
	}
	c.rest = c.rest[1:]
	return true
}

// run reads the longest non-empty run of bytes that are wanted.
func (c *cursor) run(wanted func(byte) bool) string {
	n := 0
	for n < len(c.rest) && wanted(c.rest[n]) {
		n++
	}
	c.failed = c.failed || n == 0
	text := c.rest[:n]
	c.rest = c.rest[n:]
	return text
}

// word is a run whose first byte fits first.
func (c *cursor) word(first, others func(byte) bool) string {
	if c.rest == "" || !first(c.rest[0]) {
		c.failed = true
		return ""
	}
	return c.run(others)
}

// constraint reads operator and version up to the closing parenthesis.
func (c *cursor) constraint() (op, version string) {
	c.blanks()
	op = c.run(operatorByte)
	c.blanks()
	version = c.run(versionByte)
	c.blanks()
	c.failed = !c.accept(')') || c.failed
	return op, version
}

// list reads blank-separated words up to end; the result is never nil.
func (c *cursor) list(wanted func(byte) bool, end byte) []string {
	text := c.run(func(b byte) bool { return wanted(b) || blank(rune(b)) })
	c.failed = !c.accept(end) || c.failed
	return append([]string{}, strings.FieldsFunc(text, blank)...)
}

func alphanumeric(b byte) bool {
	return '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

func nameByte(b byte) bool      { return alphanumeric(b) || b == '.' || b == '+' || b == '-' }
func qualifierByte(b byte) bool { return alphanumeric(b) || b == '-' }
func operatorByte(b byte) bool  { return b == '<' || b == '=' || b == '>' }
func versionByte(b byte) bool   { return nameByte(b) || b == ':' || b == '~' }
func archByte(b byte) bool      { return alphanumeric(b) || b == '-' || b == '_' || b == '!' }
func profileByte(b byte) bool   { return b != '<' && b != '>' }

// blank reports the characters that separate the words of a control field.
func blank(r rune) bool { return strings.ContainsRune(" \t\n\r\v\f", r) }
