package buildlog

import (
	"bytes"
	"encoding/binary"
)

const (
	redacted = "[redacted]"
	// gramBits is the size of the table of hashed three-byte groups.
	gramBits = 15
)

// secretFilter replaces every place where one of the secrets occurs. Occurrences
// that overlap are replaced together, so no part of either is left.
type secretFilter struct {
	set *secretSet
	buf []byte
	// sent counts the bytes at the start of buf that are already passed on or
	// replaced, and kept because a longer secret may begin among them.
	sent int
}

// filter appends to out what can be passed on now that p has arrived.
func (f *secretFilter) filter(out, p []byte, final bool) []byte {
	if f.set.empty() {
		return append(out, p...)
	}
	f.buf = append(f.buf, p...)
	first, _ := f.set.candidates(f.buf, 0, len(f.buf)-minSecret+1)
	hold := len(f.buf)
	if !final {
		hold = f.set.unfinished(f.buf, first)
	}
	out, sent := f.set.replace(out, f.buf, f.sent, first, hold)
	f.sent = max(0, sent-hold)
	f.buf = append(f.buf[:0], f.buf[hold:]...)
	return out
}

// secretSet finds many strings at once. Few groups of three bytes begin one of
// them, and a table of these groups rules out nearly every place in a text.
type secretSet struct {
	longest int
	// withAt are the strings with an '@' that is not the last byte.
	withAt [][]byte

	// first and second tell whether a string begins with one or two bytes. third
	// is, for the hash of three bytes, the place in lists of the strings that
	// may begin so; 0 if there are none.
	first  [1 << 8]bool
	second [1 << 16]bool
	third  [1 << gramBits]uint16
	lists  [][][]byte
}

// newSecretSet prepares the search for the secrets in all their forms. It is
// read only afterwards.
func newSecretSet(secrets []string) *secretSet {
	s := &secretSet{lists: make([][][]byte, 1)}
	for _, v := range variants(secrets) {
		s.longest = max(s.longest, len(v))
		if i := bytes.IndexByte(v, '@'); i >= 0 && i < len(v)-1 {
			s.withAt = append(s.withAt, v)
		}
		s.first[v[0]] = true
		s.second[binary.LittleEndian.Uint16(v)] = true
		s.addToList(v)
	}
	return s
}

func (s *secretSet) addToList(v []byte) {
	place := &s.third[gram(binary.LittleEndian.Uint32(v))]
	if *place == 0 {
		// There are not more lists than places in third.
		*place = uint16(len(s.lists)) // at most 1<<gramBits
		s.lists = append(s.lists, nil)
	}
	s.lists[*place] = append(s.lists[*place], v)
}

func (s *secretSet) empty() bool { return s.longest == 0 }

// gram is the hash of the first three bytes of a little-endian word.
func gram(word uint32) uint32 { return word << 8 * 0x9E3779B1 >> (32 - gramBits) }

// replace appends b[sent:hold] to out with all strings replaced that begin in
// b[i:hold], and returns up to where b is done.
func (s *secretSet) replace(out, b []byte, sent, i, hold int) ([]byte, int) {
	for ; ; i++ {
		var n int
		if i, n = s.next(b, i, hold); n == 0 {
			break
		}
		if i >= sent {
			out = append(out, b[sent:i]...)
			out = append(out, redacted...)
		}
		sent = max(sent, i+n)
	}
	if sent < hold {
		out = append(out, b[sent:hold]...)
		sent = hold
	}
	return out, sent
}

// next finds the first string that begins in b[i:hold], and the longest if there
// are several; its length is 0 if there is none.
func (s *secretSet) next(b []byte, i, hold int) (at, n int) {
	end := min(hold, len(b)-minSecret+1)
	for ; ; i++ {
		var list [][]byte
		if i, list = s.candidates(b, i, end); list == nil {
			return i, 0
		}
		for _, v := range list {
			if len(v) > n && bytes.HasPrefix(b[i:], v) {
				n = len(v)
			}
		}
		if n > 0 {
			return i, n
		}
	}
}

// candidates finds the first place in b[i:end] where a string may begin, and
// those that may; nil if there is none. Each place has four bytes in b.
func (s *secretSet) candidates(b []byte, i, end int) (int, [][]byte) {
	for ; i+4 <= end && i+8 <= len(b); i += 4 {
		w := binary.LittleEndian.Uint64(b[i:])
		// the low halves are meant
		one, two, three, four := uint32(w), uint32(w>>8), uint32(w>>16), uint32(w>>24)
		if s.third[gram(one)]|s.third[gram(two)]|s.third[gram(three)]|s.third[gram(four)] != 0 {
			break
		}
	}
	for ; i < end; i++ {
		if place := s.third[gram(binary.LittleEndian.Uint32(b[i:]))]; place != 0 {
			return i, s.lists[place]
		}
	}
	return i, nil
}

// unfinished is the first place at or after i from where on b is the beginning
// of a string, but not yet the whole; len(b) if there is none.
func (s *secretSet) unfinished(b []byte, i int) int {
	end := len(b) - minSecret + 1
	for i = max(i, len(b)-s.longest+1, 0); i < end; i++ {
		var list [][]byte
		if i, list = s.candidates(b, i, end); anyContinues(list, b[i:]) {
			return i
		}
	}
	for i = max(end, 0); i < len(b); i++ {
		if s.continuesShort(b[i:]) {
			return i
		}
	}
	return len(b)
}

// continuesShort tells whether some string begins with b, which has one to
// three bytes.
func (s *secretSet) continuesShort(b []byte) bool {
	switch len(b) {
	case 1:
		return s.first[b[0]]
	case 2:
		return s.second[binary.LittleEndian.Uint16(b)]
	default:
		word := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		return anyContinues(s.lists[s.third[gram(word)]], b)
	}
}

// anyContinues tells whether one of the strings begins with b and is longer.
func anyContinues(list [][]byte, b []byte) bool {
	for _, v := range list {
		if len(v) > len(b) && bytes.HasPrefix(v, b) {
			return true
		}
	}
	return false
}

// extend moves cut, the end of credentials in b just after an '@', to the end of
// a string that the cut would go through, and after the '@' that follows it.
func (s *secretSet) extend(b []byte, cut int) int {
	end := cut
	for _, v := range s.withAt {
		from := max(0, cut-len(v)+1)
		if i := bytes.Index(b[from:min(len(b), cut+len(v)-1)], v); i >= 0 {
			end = max(end, from+i+len(v))
		}
	}
	if end > cut && end < len(b) && b[end] == '@' {
		end++
	}
	return end
}
