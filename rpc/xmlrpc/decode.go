package xmlrpc

import (
	"fmt"

	"lpbuildd/ordered"
)

// DecodeCall decodes a methodCall document. Errors are *SyntaxError.
func DecodeCall(doc []byte) (Call, error) {
	s, err := newScanner(doc)
	if err != nil {
		return Call{}, err
	}
	d := decoder{scanner: s}
	call, err := d.call()
	return call, s.wrap(err)
}

// DecodeResponse decodes a methodResponse document. A fault is returned as a
// *FaultError, anything else that is wrong as a *SyntaxError.
func DecodeResponse(doc []byte) (any, error) {
	s, err := newScanner(doc)
	if err != nil {
		return nil, err
	}
	d := decoder{scanner: s}
	value, fault, err := d.response()
	switch {
	case err != nil:
		return nil, s.wrap(err)
	case fault:
		return nil, asFault(value)
	}
	return value, nil
}

func (d *decoder) call() (Call, error) {
	call := Call{Params: []any{}}
	if err := d.want(startTag, "methodCall"); err != nil {
		return call, err
	}
	if err := d.want(startTag, "methodName"); err != nil {
		return call, err
	}
	name, err := d.text()
	if err != nil {
		return call, err
	}
	call.Method = string(name)
	t, err := d.tag()
	if err != nil {
		return call, err
	}
	if d.is(t, startTag, "params") {
		if call.Params, err = d.params(); err != nil {
			return call, err
		}
		if t, err = d.tag(); err != nil {
			return call, err
		}
	}
	if !d.is(t, endTag, "methodCall") {
		return call, d.unexpected(t, "</methodCall>")
	}
	return call, d.want(endOfDocument, "")
}

// params reads up to </params>.
func (d *decoder) params() ([]any, error) {
	params := []any{}
	for {
		t, err := d.tag()
		if err != nil || d.is(t, endTag, "params") {
			return params, err
		}
		if !d.is(t, startTag, "param") {
			return nil, d.unexpected(t, "<param>")
		}
		value, empty, err := d.param()
		if err != nil {
			return nil, err
		}
		if !empty {
			params = append(params, value)
		}
	}
}

// param reads up to </param>. An empty one does not count.
func (d *decoder) param() (value any, empty bool, err error) {
	t, err := d.tag()
	switch {
	case err != nil:
		return nil, false, err
	case d.is(t, endTag, "param"):
		return nil, true, nil
	case !d.is(t, startTag, "value"):
		return nil, false, d.unexpected(t, "<value>")
	}
	if value, err = d.value(); err != nil {
		return nil, false, err
	}
	return value, false, d.want(endTag, "param")
}

func (d *decoder) response() (value any, fault bool, err error) {
	if err := d.want(startTag, "methodResponse"); err != nil {
		return nil, false, err
	}
	t, err := d.tag()
	if err != nil {
		return nil, false, err
	}
	switch {
	case d.is(t, startTag, "params"):
		params, err := d.params()
		if err != nil {
			return nil, false, err
		}
		if len(params) != 1 {
			return nil, false, fmt.Errorf("expected one <param>, got %d", len(params))
		}
		value = params[0]
	case d.is(t, startTag, "fault"):
		fault = true
		if err := d.want(startTag, "value"); err != nil {
			return nil, false, err
		}
		if value, err = d.value(); err != nil {
			return nil, false, err
		}
		if err := d.want(endTag, "fault"); err != nil {
			return nil, false, err
		}
	default:
		return nil, false, d.unexpected(t, "<params> or <fault>")
	}
	if err := d.want(endTag, "methodResponse"); err != nil {
		return nil, false, err
	}
	return value, fault, d.want(endOfDocument, "")
}

// asFault makes an error of the struct that describes a fault.
func asFault(value any) error {
	members, _ := value.(ordered.Struct)
	code, isInt := members.Get("faultCode").(int64)
	text, isString := members.Get("faultString").(string)
	if !isInt || !isString {
		return &SyntaxError{Reason: "a fault without faultCode and faultString", Line: 1, Column: 1}
	}
	return &FaultError{Code: int(code), String: text}
}
