package xmlrpc

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// toUTF8 takes the byte order mark off a document and converts it if its XML
// declaration names another encoding.
func toUTF8(doc []byte) ([]byte, error) {
	doc = bytes.TrimPrefix(doc, []byte("\xef\xbb\xbf"))
	switch name := declaredEncoding(doc); name {
	case "", "utf-8", "utf8", "us-ascii", "ascii":
		return doc, nil
	case "iso-8859-1", "latin-1", "latin1":
		return fromLatin1(doc), nil
	default:
		return nil, fmt.Errorf("unknown encoding %.40q", name)
	}
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

func fromLatin1(doc []byte) []byte {
	out := make([]byte, 0, len(doc)+len(doc)/8)
	for _, c := range doc {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}
