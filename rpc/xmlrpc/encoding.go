package xmlrpc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// MaxConverted is how large a document in another encoding than UTF-8 may become.
const MaxConverted = 32 << 20

// toUTF8 takes the byte order mark off a document and converts it if the mark,
// or its XML declaration, says that it is in another encoding (XML 1.0, appendix F).
func toUTF8(doc []byte) ([]byte, error) {
	if order, marked := utf16Order(doc); marked {
		return fromUTF16(doc, order)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	name := declaredEncoding(doc)
	switch name {
	case "", "utf-8", "utf8", "utf_8":
		return doc, nil
	}
	if isUTF16(name) {
		return nil, contradiction(name)
	}
	e := byName(name)
	if e == nil {
		return nil, fmt.Errorf("unknown encoding %.40q: use UTF-8", name)
	}
	converted, err := convert(doc, e)
	switch {
	case err != nil:
		return nil, err
	case !bytes.HasPrefix(converted, []byte("<?xml")):
		return nil, contradiction(name) // EBCDIC and the like, declared in ASCII
	case bytes.Contains(converted, []byte("\uFFFD")):
		return nil, fmt.Errorf("not well-formed (invalid character in %s)", name)
	}
	return converted, nil
}

func contradiction(name string) error {
	return fmt.Errorf("the XML declaration names the encoding %.40q, which is not that of the document", name)
}

// utf16Order tells UTF-16 by its byte order mark, or else by the first <.
func utf16Order(doc []byte) (order unicode.Endianness, is bool) {
	if len(doc) < 2 {
		return unicode.LittleEndian, false
	}
	switch string(doc[:2]) {
	case "\xff\xfe", "<\x00":
		return unicode.LittleEndian, true
	case "\xfe\xff", "\x00<":
		return unicode.BigEndian, true
	}
	return unicode.LittleEndian, false
}

func isUTF16(name string) bool {
	return strings.HasPrefix(strings.ReplaceAll(name, "_", "-"), "utf-16")
}

func fromUTF16(doc []byte, order unicode.Endianness) ([]byte, error) {
	other, replacement := "utf-16be", "\xfd\xff"
	if order == unicode.BigEndian {
		other, replacement = "utf-16le", "\xff\xfd"
	}
	// The decoder replaces what is malformed by a character that may also have been sent.
	sent := 0
	for i := 0; i+1 < len(doc); i += 2 {
		if string(doc[i:i+2]) == replacement {
			sent++
		}
	}
	converted, err := convert(doc, unicode.UTF16(order, unicode.UseBOM))
	if err != nil {
		return nil, err
	}
	if name := declaredEncoding(converted); name != "" && !isUTF16(name) || name == other {
		return nil, contradiction(name)
	}
	if bytes.Count(converted, []byte("\uFFFD")) != sent {
		return nil, errors.New("not well-formed (invalid UTF-16)")
	}
	return converted, nil
}

// byName finds an encoding by one of its names; nil if nobody knows it. The
// index of HTML comes second, because it takes one encoding for another.
func byName(name string) encoding.Encoding {
	names := []string{name, registered(name)}
	for _, name := range names {
		if e, err := ianaindex.IANA.Encoding(name); err == nil && e != nil {
			return e
		}
	}
	for _, name := range names {
		if e, err := htmlindex.Get(name); err == nil {
			return e
		}
	}
	return nil
}

// registered is what others call an encoding that Python calls name.
func registered(name string) string {
	name = strings.ReplaceAll(name, "_", "-")
	if part, ok := strings.CutPrefix(name, "iso8859-"); ok {
		return "iso-8859-" + part
	}
	switch name {
	case "latin-1":
		return "latin1"
	case "ascii":
		return "us-ascii"
	case "mac-roman":
		return "macintosh"
	}
	return name
}

func convert(doc []byte, e encoding.Encoding) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(min(len(doc)+len(doc)/8, MaxConverted) + bytes.MinRead)
	_, err := out.ReadFrom(io.LimitReader(transform.NewReader(bytes.NewReader(doc), e.NewDecoder()), MaxConverted+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("not well-formed (%w)", err)
	case out.Len() > MaxConverted:
		return nil, fmt.Errorf("the document is larger than %d bytes in UTF-8", MaxConverted)
	}
	return out.Bytes(), nil
}

// declaredEncoding is the encoding of the XML declaration in lower case, or "".
func declaredEncoding(doc []byte) string {
	if !bytes.HasPrefix(doc, []byte("<?xml")) {
		return ""
	}
	declaration, _, found := bytes.Cut(doc, []byte("?>"))
	if !found {
		return ""
	}
	_, rest, found := bytes.Cut(declaration, []byte("encoding"))
	if !found {
		return ""
	}
	rest, found = bytes.CutPrefix(bytes.TrimSpace(rest), []byte("="))
	rest = bytes.TrimSpace(rest)
	if !found || len(rest) < 2 {
		return ""
	}
	name, _, _ := bytes.Cut(rest[1:], rest[:1])
	return strings.ToLower(string(name))
}
