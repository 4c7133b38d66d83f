package pointercheck

import "bytes"

// marker is in every line that matters.
const marker = " warning: "

// location is a place in a line of output.
type location struct {
	file, line []byte
}

// splitWarning reads "<file>:<line>:[<column>:] warning: " at the start of a
// line; warning is what follows.
func splitWarning(text []byte) (at location, warning []byte, ok bool) {
	at.file, text, ok = bytes.Cut(text, []byte(":"))
	if !ok {
		return at, nil, false
	}
	if at.line, text, ok = number(text); !ok {
		return at, nil, false
	}
	if text, ok = bytes.CutPrefix(text, []byte(":")); !ok {
		return at, nil, false
	}
	if _, rest, ok := number(text); ok {
		text, ok = bytes.CutPrefix(rest, []byte(":"))
		if !ok {
			return at, nil, false
		}
	}
	warning, ok = bytes.CutPrefix(text, []byte(marker))
	return at, warning, ok
}

// number splits off decimal digits, at least one.
func number(text []byte) (digits, rest []byte, ok bool) {
	n := 0
	for n < len(text) && '0' <= text[n] && text[n] <= '9' {
		n++
	}
	return text[:n], text[n:], n > 0
}

// implicitDeclaration is pattern A of the spec, after its location.
func implicitDeclaration(warning []byte) (function []byte, ok bool) {
	rest, ok := bytes.CutPrefix(warning, []byte("implicit declaration of function "))
	if !ok || len(rest) == 0 || rest[0] != '`' && rest[0] != '\'' {
		return nil, false
	}
	function, _, ok = bytes.Cut(rest[1:], []byte("'"))
	return function, ok
}

// pointerConversion is pattern B of the spec, after its location.
func pointerConversion(warning []byte) bool {
	if bytes.HasPrefix(warning, []byte("cast to pointer from integer of different size")) {
		return true
	}
	rest, ok := convertedThing(warning)
	return ok && bytes.HasPrefix(rest, []byte(" makes pointer from integer without a cast"))
}

// convertedThing reads what pattern B names; rest is what follows.
func convertedThing(warning []byte) (rest []byte, ok bool) {
	for _, thing := range [...]string{"assignment", "initialization", "return"} {
		if rest, ok = bytes.CutPrefix(warning, []byte(thing)); ok {
			return rest, true
		}
	}
	if rest, ok = bytes.CutPrefix(warning, []byte("passing arg ")); !ok {
		return nil, false
	}
	if _, rest, ok = number(rest); !ok {
		return nil, false
	}
	if rest, ok := bytes.CutPrefix(rest, []byte(" of pointer to function")); ok {
		return rest, true
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(" of `")); !ok {
		return nil, false
	}
	_, rest, ok = bytes.Cut(rest, []byte("'"))
	return rest, ok
}
