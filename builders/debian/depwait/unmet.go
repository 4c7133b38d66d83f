package depwait

import (
	"bytes"
	"regexp"
)

// How apt introduces the list of what it cannot install, and an entry of it.
const (
	unmetHeader  = "The following packages have unmet dependencies:\n"
	dependsStart = " Depends: "
)

// findUnmet looks for entries of apt's list anywhere after the first header in
// text. It finds what these expressions find (dot matches newlines), in this
// order, in one pass from the end, which takes linear time whatever the text:
//
//	HEADER\n.* Depends: [^ ]*( \([^)]*\))? DUBIOUS\n
//	HEADER\n.* Depends: (?P<p>[^ ]*( \([^)]*\))?) MISSING\n
//	HEADER\n.* Depends: [^ ]*( \([^)]*\))? (DUBIOUS|MISSING) or\n
//
// Depends is the raw text of group p, or for DUBIOUS what choices says.
func findUnmet(text []byte) Finding {
	_, after, ok := bytes.Cut(text, []byte(unmetHeader))
	if !ok {
		return Finding{}
	}
	list := entries{text: after, closeFrom: len(after), close: len(after)}
	var found Finding
	for end := len(after); ; {
		// The blank that ends one start may begin the next.
		upTo := min(len(after), end+len(dependsStart)-1)
		start := bytes.LastIndex(after[:upTo], []byte(dependsStart))
		if start < 0 {
			return found
		}
		end = start
		e := list.at(start + len(dependsStart))
		switch {
		case e.reason == dubious:
			return Finding{Kind: Maybe, Depends: choices(after)}
		case e.reason == missing && found.Kind != Definite:
			found = Finding{Kind: Definite, Depends: decode(e.relation)}
		case e.reason == alternatives && found.Kind == None:
			found = Finding{Kind: Maybe, Depends: choices(after)}
		}
	}
}

// noChoices is how apt explains, since version 3.0, that nothing satisfies a
// dependency. Version 3.1 and later say only here which one of a package further
// down.
var noChoices = regexp.MustCompile(` Depends (.+)\n +but none of the choices are installable:\n +\[no choices\]`)

// choices is the dependency for which apt found nothing to choose from, or "".
func choices(text []byte) string {
	if found := noChoices.FindSubmatch(text); found != nil {
		return decode(found[1])
	}
	return ""
}

// reason is why apt does not install what a relation names, as the end of an entry says.
type reason int

const (
	noReason reason = iota
	dubious
	missing
	alternatives
)

type entry struct {
	relation []byte
	reason   reason
}

// entries reads entries of a list, from its end to its start: it remembers the
// closing parenthesis next to the last entry read, so that a flood of open ones
// costs nothing.
type entries struct {
	text      []byte
	closeFrom int // where the search for close began
	close     int // first ')' in text[closeFrom:]; len(text) if none

	readAt int // the last place that was read, and the result
	read   reason
}

// at reads the entry whose relation starts at start; calls must go backwards.
func (l *entries) at(start int) entry {
	space := bytes.IndexByte(l.text[start:], ' ')
	if space < 0 {
		return entry{}
	}
	end := start + space
	if bytes.HasPrefix(l.text[end:], []byte(" (")) {
		end = l.nextClose(end) + 1
	}
	if end > len(l.text) {
		return entry{}
	}
	if end != l.readAt {
		l.readAt, l.read = end, reasonIn(l.text[end:])
	}
	return entry{relation: l.text[start:end], reason: l.read}
}

// nextClose returns the place of the first ')' at or after from, or len(text).
func (l *entries) nextClose(from int) int {
	if i := bytes.IndexByte(l.text[from:l.closeFrom], ')'); i >= 0 {
		l.close = from + i
	}
	l.closeFrom = from
	return l.close
}

// reasonIn reads the phrase that follows a relation, up to the end of the line.
func reasonIn(rest []byte) reason {
	rest, ok := bytes.CutPrefix(rest, []byte(" but "))
	if !ok {
		return noReason
	}
	word := bytes.IndexByte(rest, ' ')
	if word < 0 {
		return noReason
	}
	for _, p := range phrases() {
		if p.subject != "" && p.subject != string(rest[:word]) {
			continue
		}
		after, ok := bytes.CutPrefix(rest[word:], []byte(p.text))
		switch {
		case ok && bytes.HasPrefix(after, []byte("\n")):
			return p.reason
		case ok && bytes.HasPrefix(after, []byte(" or\n")):
			return alternatives
		}
	}
	return noReason
}

type phrase struct {
	subject string // the word after "but"; "" is any word
	text    string
	reason  reason
}

// phrases is the table of spec: builders.md section 2.6.
func phrases() [6]phrase {
	return [...]phrase{
		{"it", " is not installed", dubious},
		{"it", " is not going to be installed", dubious},
		{"", " is to be installed", missing},
		{"", " is installed", missing},
		{"it", " is not installable", missing},
		{"it", " is a virtual package", missing},
	}
}
