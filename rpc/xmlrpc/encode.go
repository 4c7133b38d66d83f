package xmlrpc

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lpbuildd/ordered"
)

// AppendCall appends a methodCall document to b. Integers may have any size.
func AppendCall(b []byte, method string, params []any) ([]byte, error) {
	e := encoder{b: b, wide: true}
	e.raw("<?xml version='1.0'?>\n<methodCall>\n<methodName>")
	e.b = appendEscaped(e.b, method)
	e.raw("</methodName>\n<params>\n")
	for _, param := range params {
		e.raw("<param>\n")
		e.value(param)
		e.raw("</param>\n")
	}
	e.raw("</params>\n</methodCall>\n")
	return e.result(b)
}

// AppendResponse appends a methodResponse document to b. An integer beyond 32
// bits is an ErrIntRange, as the protocol wants it. Texts that XML cannot
// express do not fail: their odd characters become U+FFFD. What would be longer
// than MaxResponse does.
func AppendResponse(b []byte, value any) ([]byte, error) {
	e := encoder{b: b, limit: MaxResponse}
	e.raw("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n")
	e.value(value)
	e.raw("</param>\n</params>\n</methodResponse>\n")
	return e.result(b)
}

// AppendFault appends a methodResponse document with a fault to b.
func AppendFault(b []byte, code int32, text string) []byte {
	e := encoder{b: b}
	e.raw("<?xml version='1.0'?>\n<methodResponse>\n<fault>\n")
	e.value(ordered.Struct{{Name: "faultCode", Value: int64(code)}, {Name: "faultString", Value: text}})
	e.raw("</fault>\n</methodResponse>\n")
	return e.b
}

// encoder appends to b until the first error. The documents have the shape
// that Python's marshaller gives them.
type encoder struct {
	b     []byte
	wide  bool // integers beyond 32 bits may be written
	limit int  // of b, 0 for none
	depth int
	err   error
}

// result gives back the original buffer if something could not be encoded.
func (e *encoder) result(original []byte) ([]byte, error) {
	if e.err != nil {
		return original, e.err
	}
	return e.b, nil
}

func (e *encoder) raw(text string) { e.b = append(e.b, text...) }

// fits says whether so many bytes more are within the limit.
func (e *encoder) fits(more int) bool {
	if e.err == nil && e.limit > 0 && len(e.b)+more > e.limit {
		e.err = fmt.Errorf("the response is longer than %d bytes", e.limit)
	}
	return e.err == nil
}

func (e *encoder) value(value any) {
	if !e.fits(0) {
		return
	}
	switch v := value.(type) {
	case nil:
		e.raw("<value><nil/></value>")
	case bool:
		e.boolean(v)
	case int:
		e.integer(int64(v))
	case int64:
		e.integer(v)
	case BigInt:
		e.bigInt(v)
	case float64:
		e.raw("<value><double>")
		e.b = appendDouble(e.b, v)
		e.raw("</double></value>\n")
	case string:
		e.text(v)
	case []byte:
		e.bytes(v)
	case DateTime:
		e.raw("<value><dateTime.iso8601>")
		e.b = appendEscaped(e.b, string(v))
		e.raw("</dateTime.iso8601></value>\n")
	default:
		e.container(value)
	}
}

func (e *encoder) container(value any) {
	// One level more than in decoding: echo wraps what it was given.
	if e.depth++; e.depth > MaxDepth+1 {
		e.err = errors.New("nested too deeply")
	}
	if e.err != nil {
		return
	}
	switch v := value.(type) {
	case []any:
		each(e, v, e.value)
	case []string:
		each(e, v, e.text)
	case map[string]any:
		members(e, ordered.Sorted(v))
	case map[string]string:
		members(e, ordered.Sorted(v))
	case ordered.Struct:
		members(e, v)
	case ordered.Map[string]:
		members(e, v)
	default:
		e.err = fmt.Errorf("cannot marshal %T", value)
	}
	e.depth--
}

func each[T any](e *encoder, list []T, encode func(T)) {
	e.raw("<value><array><data>\n")
	for _, item := range list {
		encode(item)
	}
	e.raw("</data></array></value>\n")
}

func members[V any](e *encoder, members ordered.Map[V]) {
	e.raw("<value><struct>\n")
	for _, m := range members {
		e.raw("<member>\n<name>")
		e.escaped(m.Name)
		e.raw("</name>\n")
		e.value(m.Value)
		e.raw("</member>\n")
	}
	e.raw("</struct></value>\n")
}

func (e *encoder) text(text string) {
	e.raw("<value><string>")
	e.escaped(text)
	e.raw("</string></value>\n")
}

// escaped appends a text in parts, because escaping may make it much longer.
func (e *encoder) escaped(text string) {
	const part = 1 << 20
	if len(text) > part && e.fits(len(text)) {
		e.b = slices.Grow(e.b, len(text)+part) // once, instead of a quarter again and again
	}
	for len(text) > part && e.fits(part) {
		end := part
		for !utf8.RuneStart(text[end]) && end > part-utf8.UTFMax {
			end--
		}
		e.b = appendEscaped(e.b, text[:end])
		text = text[end:]
	}
	if e.fits(len(text)) {
		e.b = appendEscaped(e.b, text)
	}
}

func (e *encoder) boolean(yes bool) {
	if yes {
		e.raw("<value><boolean>1</boolean></value>\n")
	} else {
		e.raw("<value><boolean>0</boolean></value>\n")
	}
}

func (e *encoder) integer(n int64) {
	name := "int"
	if n < math.MinInt32 || n > math.MaxInt32 {
		if name = "i8"; !e.wide {
			e.err = ErrIntRange
		}
	}
	e.raw("<value><")
	e.raw(name)
	e.raw(">")
	e.b = strconv.AppendInt(e.b, n, 10)
	e.raw("</")
	e.raw(name)
	e.raw("></value>\n")
}

func (e *encoder) bigInt(n BigInt) {
	if !e.wide {
		e.err = ErrIntRange
	}
	e.raw("<value><biginteger>")
	e.b = appendEscaped(e.b, string(n))
	e.raw("</biginteger></value>\n")
}

// bytes writes lines of 76 characters, as MIME does.
func (e *encoder) bytes(data []byte) {
	const perLine = 57
	if !e.fits(base64.StdEncoding.EncodedLen(len(data))) {
		return
	}
	e.raw("<value><base64>\n")
	e.b = slices.Grow(e.b, base64.StdEncoding.EncodedLen(len(data))+len(data)/perLine+1)
	for len(data) > 0 {
		n := min(len(data), perLine)
		e.b = base64.StdEncoding.AppendEncode(e.b, data[:n])
		e.b = append(e.b, '\n')
		data = data[n:]
	}
	e.raw("</base64></value>\n")
}

// appendDouble writes a number as Python does, so that a whole number still
// looks like a double: 3.0, 1e-07, 1e+16, nan, inf.
func appendDouble(b []byte, f float64) []byte {
	switch size := math.Abs(f); {
	case math.IsNaN(f):
		return append(b, "nan"...)
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case size != 0 && (size < 1e-4 || size >= 1e16):
		return strconv.AppendFloat(b, f, 'e', -1, 64)
	}
	start := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if !strings.Contains(string(b[start:]), ".") {
		b = append(b, ".0"...)
	}
	return b
}
