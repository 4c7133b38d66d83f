package ordered

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// MarshalJSON writes an object, or null for a nil map.
func (m Map[V]) MarshalJSON() ([]byte, error) {
	if m == nil {
		return []byte("null"), nil
	}
	text := []byte{'{'}
	for i, member := range m {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(member.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(member.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", member.Name, err)
		}
		text = append(append(append(text, name...), ':'), value...)
	}
	return append(text, '}'), nil
}

// UnmarshalJSON reads an object, or null. What is any in it gets the types of
// DecodeJSON.
func (m *Map[V]) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	token, err := decoder.Token()
	switch {
	case err != nil:
		return err
	case token == nil:
		*m = nil
		return nil
	case token != json.Delim('{'):
		return fmt.Errorf("expected an object, got %v", token)
	}
	*m, err = decodeMembers(decoder, decodeValue[V])
	return err
}

// DecodeJSON reads the next value: nil, bool, json.Number or float64 as the
// decoder has it, string, []any or Struct.
func DecodeJSON(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return decodeMembers(decoder, DecodeJSON)
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			item, err := DecodeJSON(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := decoder.Token() // the bracket
		return list, err
	}
	return token, nil
}

func decodeValue[V any](decoder *json.Decoder) (value V, err error) {
	if untyped, ok := any(&value).(*any); ok {
		*untyped, err = DecodeJSON(decoder)
		return value, err
	}
	err = decoder.Decode(&value)
	return value, err
}

// decodeMembers reads from behind the opening brace to behind the closing one.
func decodeMembers[V any](decoder *json.Decoder, decode func(*json.Decoder) (V, error)) (Map[V], error) {
	var members Builder[V]
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		value, err := decode(decoder)
		if err != nil {
			return nil, err
		}
		members.Set(fmt.Sprint(name), value) // names are strings, or Token fails
	}
	_, err := decoder.Token() // the brace
	return members.Map(), err
}
