package xmlrpc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lpbuildd/ordered"
)

// value reads from behind <value> to behind its </value>.
func (d *decoder) value() (any, error) {
	d.stack = d.stack[:0]
	for {
		value, complete, err := d.content()
		if err == nil {
			value, complete, err = d.climb(value, complete)
		}
		if err != nil || complete {
			return value, err
		}
	}
}

// climb puts a complete value into its container, and every container that
// ends there into the next one, until there is another value to read or the
// outermost value is complete.
func (d *decoder) climb(value any, complete bool) (any, bool, error) {
	for {
		if complete && len(d.stack) == 0 {
			return value, true, nil
		}
		if complete {
			if err := d.attach(value); err != nil {
				return nil, false, err
			}
		}
		more, err := d.advance()
		if err != nil || more {
			return nil, false, err
		}
		value, complete = d.leave(), true
	}
}

// content reads a scalar with its </value>, which completes the value, or
// enters a container.
func (d *decoder) content() (value any, complete bool, err error) {
	text, t, err := d.next()
	switch {
	case err != nil:
		return nil, false, err
	case t == endTag:
		return string(text), true, nil
	case t == endOfDocument || !blank(text):
		return nil, false, d.unexpected(t, "</value>")
	}
	switch string(d.name) {
	case "array":
		return d.array()
	case "struct":
		return nil, false, d.enter(frame{members: new(ordered.Builder[any])})
	}
	convert := scalar(d.name)
	if convert == nil {
		return nil, false, fmt.Errorf("unknown type <%s>", clip(d.name))
	}
	if text, err = d.text(); err != nil {
		return nil, false, err
	}
	if value, err = convert(text); err != nil {
		return nil, false, err
	}
	return value, true, d.want(endTag, "value")
}

// array enters an array, unless there is nothing in it, not even <data>.
func (d *decoder) array() (value any, complete bool, err error) {
	t, err := d.tag()
	switch {
	case err != nil:
		return nil, false, err
	case d.is(t, endTag, "array"):
		return []any{}, true, d.want(endTag, "value")
	case d.is(t, startTag, "data"):
		return nil, false, d.enter(frame{list: []any{}})
	}
	return nil, false, d.unexpected(t, "<data>")
}

func (d *decoder) enter(f frame) error {
	if len(d.stack) == MaxDepth {
		return errors.New("nested too deeply")
	}
	d.stack = append(d.stack, f)
	return nil
}

// attach puts a complete value into the innermost container.
func (d *decoder) attach(value any) error {
	top := &d.stack[len(d.stack)-1]
	if top.members == nil {
		top.list = append(top.list, value)
		return nil
	}
	top.members.Set(top.name, value)
	return d.want(endTag, "member")
}

// advance reads up to the next <value> of the innermost container, or, when
// there are no more, to the </value> behind the container.
func (d *decoder) advance() (more bool, err error) {
	top := &d.stack[len(d.stack)-1]
	t, err := d.tag()
	for err == nil && top.members != nil && d.is(t, startTag, "member") {
		if more, err = d.member(top); more || err != nil {
			return more, err
		}
		t, err = d.tag()
	}
	switch {
	case err != nil:
		return false, err
	case top.members == nil && d.is(t, startTag, "value"):
		return true, nil
	case top.members == nil && d.is(t, endTag, "data"):
		if err := d.want(endTag, "array"); err != nil {
			return false, err
		}
		return false, d.want(endTag, "value")
	case top.members == nil:
		return false, d.unexpected(t, "<value>")
	case d.is(t, endTag, "struct"):
		return false, d.want(endTag, "value")
	}
	return false, d.unexpected(t, "<member>")
}

// member reads a member's name and the <value> behind it. There is no more of one
// that is empty, which does not count.
func (d *decoder) member(top *frame) (more bool, err error) {
	t, err := d.tag()
	switch {
	case err != nil:
		return false, err
	case d.is(t, endTag, "member"):
		return false, nil
	case !d.is(t, startTag, "name"):
		return false, d.unexpected(t, "<name>")
	}
	name, err := d.text()
	if err != nil {
		return false, err
	}
	top.name = string(name)
	return true, d.want(startTag, "value")
}

// leave ends the innermost container and returns it as a value.
func (d *decoder) leave() any {
	last := len(d.stack) - 1
	top := d.stack[last]
	d.stack[last] = frame{}
	d.stack = d.stack[:last]
	if top.members != nil {
		return top.members.Map()
	}
	return top.list
}

// scalar finds the function that converts the text of a type's element; nil
// if there is no such type.
func scalar(name []byte) func([]byte) (any, error) {
	switch string(name) {
	case "string":
		return func(text []byte) (any, error) { return string(text), nil }
	case "int", "i1", "i2", "i4", "i8", "biginteger":
		return toInt
	case "boolean":
		return toBool
	case "double", "float":
		return toDouble
	case "nil":
		return toNil
	case "base64":
		return toBytes
	case "dateTime.iso8601":
		return func(text []byte) (any, error) { return DateTime(bytes.TrimSpace(text)), nil }
	default:
		return nil
	}
}

func toInt(text []byte) (any, error) {
	text = bytes.TrimSpace(text)
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err == nil {
		return n, nil
	}
	// ParseInt reports the range before it has looked at every digit.
	if errors.Is(err, strconv.ErrRange) && len(bytes.Trim(text[1:], "0123456789")) == 0 {
		return BigInt(text), nil
	}
	return nil, fmt.Errorf("invalid integer %q", clip(text))
}

func toBool(text []byte) (any, error) {
	switch string(text) {
	case "0":
		return false, nil
	case "1":
		return true, nil
	}
	return nil, fmt.Errorf("invalid boolean %q, expected 0 or 1", clip(text))
}

func toDouble(text []byte) (any, error) {
	s := string(bytes.TrimSpace(text))
	f, err := strconv.ParseFloat(s, 64)
	// Hexadecimal and underscores are Go's own; out of range means infinite.
	if err != nil && !errors.Is(err, strconv.ErrRange) || strings.ContainsAny(s, "xX_") {
		return nil, fmt.Errorf("invalid double %q", clip(text))
	}
	return f, nil
}

func toNil(text []byte) (any, error) {
	if !blank(text) {
		return nil, fmt.Errorf("unexpected text %q in <nil>", clip(text))
	}
	return nil, nil
}

// toBytes ignores what is not in the base64 alphabet, as RFC 2045 section 6.8
// has it and as line breaks need it.
func toBytes(text []byte) (any, error) {
	digits := make([]byte, 0, len(text))
	for _, c := range text {
		if c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' {
			digits = append(digits, c)
		}
	}
	n, err := base64.StdEncoding.Decode(digits, digits)
	if err != nil {
		return nil, errors.New("invalid base64: bad padding")
	}
	return digits[:n:n], nil
}
