package buildlog

import "bytes"

const (
	urlMark  = "://"
	authMark = ",proxyauth="

	// maxWord is how far the decision about one credential looks. Beyond it the
	// word counts as ended, so that memory is bounded; the exact secrets are
	// still removed from the rest of it.
	maxWord = 64 << 10
)

// patternFilter removes credentials that can be recognised by their form (spec:
// lifecycle.md section 10), from left to right, within words, which end at
// blanks and line ends:
//
//   - in URLs, user:password@ after "://". The user has no '/' or ':' and may be
//     empty; the password is not empty and may hold anything. A port, that is
//     digits and then '/', is no password. The password ends at the last '@'
//     before a '/' that is followed by something like a host name, for it may
//     itself hold '@' and '/'; if nothing looks like one, then at the first.
//   - ",proxyauth=user:secret", up to the next comma.
//
// The next "://" or ",proxyauth=" in a word ends what can belong to a URL, so
// that several glued together are judged one by one.
type patternFilter struct {
	secrets *secretSet
	buf     []byte
	// sent counts the bytes at the start of buf that are already passed on, and
	// only kept to see the context of what follows.
	sent int
}

// reading is what stands after a mark, as far as it can be told. Offsets count from
// there.
type reading struct {
	open bool // more bytes are needed to decide
	cut  int  // where the credentials end; 0: there are none
	next int  // where to look for the next mark, if cut is 0
}

// filter appends to out what can be passed on now that p has arrived.
func (f *patternFilter) filter(out, p []byte, final bool) []byte {
	f.buf = append(f.buf, p...)
	b, sent, pos := f.buf, f.sent, 0
	for m := newMarks(b); ; {
		at, isURL := m.next(pos)
		if at < 0 {
			break
		}
		keep, after := at, at+len(authMark)
		if isURL {
			keep, after = at+len(urlMark), at+len(urlMark)
		}
		v := f.read(b[after:], isURL, final)
		if v.open {
			return f.hold(out, at, sent, keep)
		}
		pos = after + v.next
		if v.cut > 0 {
			out = append(out, b[sent:max(sent, keep)]...)
			pos = after + v.cut
			sent = pos
		}
	}
	if final {
		return f.hold(out, len(b), sent, len(b))
	}
	at, keep := partialMark(b, pos)
	return f.hold(out, at, sent, keep)
}

// hold passes on b[sent:until] and keeps b[from:] for the next call.
func (f *patternFilter) hold(out []byte, from, sent, until int) []byte {
	if sent < until {
		out = append(out, f.buf[sent:until]...)
		sent = until
	}
	f.sent = max(0, sent-from)
	f.buf = append(f.buf[:0], f.buf[from:]...)
	return out
}

func (f *patternFilter) read(b []byte, isURL, final bool) reading {
	if len(b) >= maxWord {
		b, final = b[:maxWord], true
	}
	if isURL {
		return readURL(b, final, f.secrets)
	}
	return readAuth(b, final)
}

func readURL(b []byte, final bool, secrets *secretSet) reading {
	colon := endOfURLUser(b)
	if colon == len(b) {
		return reading{open: !final, next: len(b)}
	}
	if b[colon] != ':' {
		return reading{next: colon}
	}
	start := colon + 1
	digits := start
	for digits < len(b) && b[digits]-'0' < 10 {
		digits++
	}
	if digits > start && digits < len(b) && b[digits] == '/' {
		return reading{next: digits}
	}
	// The colon may itself begin the next mark.
	end, found := endOfPassword(b[colon:])
	if !found && !final {
		return reading{open: true}
	}
	if colon+end <= start {
		return reading{next: colon}
	}
	cut := endOfCredentials(b[start : colon+end])
	if cut == 0 {
		return reading{next: colon}
	}
	cut = secrets.extend(b[:colon+end], start+cut)
	return reading{cut: cut}
}

// endOfURLUser finds the first ':', '/' or blank; len(b) if there is none.
func endOfURLUser(b []byte) int {
	for i, c := range b {
		if c == ':' || c == '/' || isBlank(c) {
			return i
		}
	}
	return len(b)
}

// endOfPassword finds the first blank or mark; found tells that there is one.
func endOfPassword(b []byte) (end int, found bool) {
	for i, c := range b {
		if isBlank(c) ||
			c == urlMark[0] && hasPrefix(b[i:], urlMark) ||
			c == authMark[0] && hasPrefix(b[i:], authMark) {
			return i, true
		}
	}
	return len(b), false
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// endOfCredentials finds the '@' that ends the password b begins with, and
// returns the offset after it; 0 if there is no password.
func endOfCredentials(b []byte) int {
	first := 0
	for pos := 0; ; {
		at := bytes.IndexByte(b[pos:], '@')
		if at < 0 {
			return first
		}
		end := len(b)
		if slash := bytes.IndexByte(b[pos+at:], '/'); slash >= 0 {
			end = pos + at + slash
		}
		last := bytes.LastIndexByte(b[:end], '@')
		if last == 0 {
			return 0
		}
		if looksLikeHost(b[last+1 : end]) {
			return last + 1
		}
		if first == 0 {
			first = last + 1
		}
		pos = end
	}
}

func looksLikeHost(b []byte) bool {
	if len(b) > 0 && b[0] == '[' {
		return true
	}
	name, _, _ := bytes.Cut(b, []byte(":"))
	return bytes.IndexByte(name, '.') >= 0 || string(name) == "localhost"
}

func readAuth(b []byte, final bool) reading {
	colon := 0
	for colon < len(b) && b[colon] != ':' && b[colon] != ',' && !isBlank(b[colon]) {
		colon++
	}
	if colon == len(b) {
		return reading{open: !final, next: len(b)}
	}
	if colon == 0 || b[colon] != ':' {
		return reading{next: colon}
	}
	end := colon + 1
	for end < len(b) && b[end] != ',' && !isBlank(b[end]) {
		end++
	}
	if end == len(b) && !final {
		return reading{open: true}
	}
	if end == colon+1 {
		return reading{next: colon}
	}
	return reading{cut: end}
}

// isBlank tells what ends a word: space, \t, \n, \v, \f and \r.
func isBlank(c byte) bool { return c == ' ' || c-'\t' < 5 }

// marks finds the marks in b from left to right, each byte of which is searched
// once.
type marks struct {
	b         []byte
	url, auth int // offsets of the next ones; len(b) if there are none
}

func newMarks(b []byte) *marks { return &marks{b: b, url: -1, auth: -1} }

// next finds the first mark at or after pos; -1 if there is none.
func (m *marks) next(pos int) (at int, isURL bool) {
	m.url = nextIndex(m.b, urlMark, m.url, pos)
	m.auth = nextIndex(m.b, authMark, m.auth, pos)
	if at = min(m.url, m.auth); at == len(m.b) {
		return -1, false
	}
	return at, at == m.url
}

// nextIndex is known, the offset of a mark or len(b), if that is not before pos.
func nextIndex(b []byte, mark string, known, pos int) int {
	if known >= pos {
		return known
	}
	if i := bytes.Index(b[pos:], []byte(mark)); i >= 0 {
		return pos + i
	}
	return len(b)
}

// partialMark tells where an incomplete mark at the end of b[pos:] begins, and
// up to where b can be passed on: "://" stays in any case.
func partialMark(b []byte, pos int) (from, until int) {
	tail := b[pos:]
	tail = tail[max(0, len(tail)-len(authMark)+1):]
	for n := min(len(urlMark)-1, len(tail)); n > 0; n-- {
		if string(tail[len(tail)-n:]) == urlMark[:n] {
			return len(b) - n, len(b)
		}
	}
	// A comma occurs in the mark only at its start.
	if i := bytes.LastIndexByte(tail, authMark[0]); i >= 0 && string(tail[i:]) == authMark[:len(tail)-i] {
		from = len(b) - len(tail) + i
		return from, from
	}
	return len(b), len(b)
}
