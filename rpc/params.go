package rpc

import (
	"fmt"
	"math"

	"lpbuildd/ordered"
	"lpbuildd/rpc/xmlrpc"
)

func wrongType(name, want string, got any) error {
	return fmt.Errorf("%s: expected %s, got %s", name, want, typeName(got))
}

// text is a parameter that must be a string.
func text(name string, param any) (string, error) {
	s, ok := param.(string)
	if !ok {
		return "", wrongType(name, "a string", param)
	}
	return s, nil
}

// textOrNil is a parameter that may be nil.
func textOrNil(name string, param any) (*string, error) {
	if param == nil {
		return nil, nil
	}
	s, ok := param.(string)
	if !ok {
		return nil, wrongType(name, "a string or nil", param)
	}
	return &s, nil
}

// textOrEmpty is a parameter for which nil means "".
func textOrEmpty(name string, param any) (string, error) {
	s, err := textOrNil(name, param)
	if s == nil {
		return "", err
	}
	return *s, err
}

// structure is a parameter that must be a struct.
func structure(name string, param any) (ordered.Struct, error) {
	members, ok := param.(ordered.Struct)
	if !ok {
		return nil, wrongType(name, "a struct", param)
	}
	return members, nil
}

// plain turns the types that only XML-RPC has into those of buildd.Request,
// in place. The decoder has limited how deep values are nested.
func plain(name string, value any) (any, error) {
	var err error
	switch v := value.(type) {
	case xmlrpc.DateTime:
		return string(v), nil
	case xmlrpc.BigInt:
		return nil, fmt.Errorf("%s: the integer does not fit 64 bits", name)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: expected a finite number", name)
		}
	case []any:
		for i := range v {
			if v[i], err = plain(name, v[i]); err != nil {
				return nil, err
			}
		}
	case ordered.Struct:
		for i := range v {
			if v[i].Value, err = plain(name+": "+v[i].Name, v[i].Value); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// typeName is what the protocol calls the type of a decoded value.
func typeName(value any) string {
	switch value.(type) {
	case nil:
		return "nil"
	case bool:
		return "boolean"
	case int64, xmlrpc.BigInt:
		return "int"
	case float64:
		return "double"
	case string:
		return "string"
	case []byte:
		return "base64"
	case xmlrpc.DateTime:
		return "dateTime"
	case []any:
		return "array"
	case ordered.Struct:
		return "struct"
	default:
		return "unknown type"
	}
}
