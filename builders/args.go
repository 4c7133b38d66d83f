package builders

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"lpbuildd/ordered"
)

// Args are the arguments of one build, as they came over the wire or back out
// of the JSON of a request. A key that is absent, nil, false, "" or an empty
// array is not set (spec: builders.md, introduction). Structs in them are
// ordered.Struct; a Go map in the place of one has the order of its names. Every
// error names the key and says what was expected.
type Args map[string]any

// String returns a string that must be set.
func (a Args) String(key string) (string, error) {
	s, err := a.OptionalString(key)
	if err == nil && s == "" {
		err = fmt.Errorf("%s is required", key)
	}
	return s, err
}

// OptionalString returns a string, "" when it is not set.
func (a Args) OptionalString(key string) (string, error) {
	v := a[key]
	if unset(v) {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", WrongType(key, "a string", v)
	}
	return s, nil
}

// Bool returns a boolean, false when it is not set. The numbers 0 and 1 count
// as booleans too.
func (a Args) Bool(key string) (bool, error) {
	v := a[key]
	if unset(v) {
		return false, nil
	}
	switch fmt.Sprint(v) {
	case "true", "1":
		if _, isText := v.(string); !isText {
			return true, nil
		}
	case "0":
		if _, isText := v.(string); !isText {
			return false, nil
		}
	}
	return false, WrongType(key, "a boolean", v)
}

// Strings returns an array of strings, nil when it is not set.
func (a Args) Strings(key string) ([]string, error) {
	return a.texts(key, func(v any) (string, bool) {
		s, ok := v.(string)
		return s, ok
	})
}

// IsSet reports whether the key is set.
func (a Args) IsSet(key string) bool { return !unset(a[key]) }

// IsArray reports whether the key holds an array, be it empty.
func (a Args) IsArray(key string) bool {
	switch a[key].(type) {
	case []any, []string:
		return true
	}
	return false
}

// Int returns an integer and whether it is set.
func (a Args) Int(key string) (int64, bool, error) {
	v := a[key]
	if unset(v) {
		return 0, false, nil
	}
	switch v.(type) {
	case int, int64, json.Number:
		if n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64); err == nil {
			return n, true, nil
		}
	}
	return 0, false, WrongType(key, "an integer", v)
}

// StringMap returns a struct whose members are strings, nil when it is not set.
// The error about a member calls it key.member.
func (a Args) StringMap(key string) (ordered.Map[string], error) {
	members, err := a.Struct(key)
	if err != nil || members == nil {
		return nil, err
	}
	out := make(ordered.Map[string], 0, len(members))
	for _, m := range members {
		s, ok := m.Value.(string)
		if !ok {
			return nil, WrongType(key+"."+m.Name, "a string", m.Value)
		}
		out = append(out, ordered.Member[string]{Name: m.Name, Value: s})
	}
	return out, nil
}

// Struct returns a struct as it came, nil when it is not set.
func (a Args) Struct(key string) (ordered.Struct, error) {
	v := a[key]
	if unset(v) {
		return nil, nil
	}
	members, ok := ordered.AsStruct(v)
	if !ok {
		return nil, WrongType(key, "a struct", v)
	}
	return members, nil
}

func (a Args) texts(key string, text func(any) (string, bool)) ([]string, error) {
	v := a[key]
	if unset(v) {
		return nil, nil
	}
	if list, ok := v.([]string); ok {
		return list, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, WrongType(key, "an array of strings", v)
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		s, ok := text(item)
		if !ok {
			return nil, WrongType(fmt.Sprintf("%s[%d]", key, i), "a string", item)
		}
		out = append(out, s)
	}
	return out, nil
}

func unset(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case []string:
		return len(v) == 0
	}
	return false
}

// WrongType is the error about an argument of a wrong type: it names the type that came
// and shows no value.
func WrongType(key, want string, got any) error {
	return fmt.Errorf("%s: expected %s, got %s", key, want, typeName(got))
}

// typeName calls a type by its XML-RPC name, so that the error tells the
// sender what it sent.
func typeName(v any) string {
	switch v.(type) {
	case nil:
		return "nil"
	case bool:
		return "boolean"
	case int, int32, int64:
		return "int"
	case float64:
		return "double"
	case json.Number:
		return "number"
	case string:
		return "string"
	case []byte:
		return "base64"
	case []any, []string:
		return "array"
	case ordered.Struct, map[string]any:
		return "struct"
	}
	return fmt.Sprintf("%T", v)
}

// CheckFiles checks the names of a build's input files, which become names in
// the build directory: each must be one path component that can be shown in
// XML and is not used by the builder itself (weakness A13).
func CheckFiles(names []string) error {
	for _, name := range names {
		err := CheckFileName(name)
		if slices.Contains(reservedNames(), name) {
			err = errors.New("the builder uses this name itself")
		}
		if err != nil {
			return fmt.Errorf("filemap: %q: %w", name, err)
		}
	}
	return nil
}

// reservedNames are what the builder itself makes in a build directory.
func reservedNames() []string {
	return []string{"chroot-autobuild", "status", "status.tmp", ".overlay", ".overlay.saved", ".lpbuildd"}
}

// CheckFileName checks a single path component that can be shown in XML.
func CheckFileName(name string) error {
	switch {
	case name == "":
		return errors.New("expected a name, got nothing")
	case name == "." || name == ".." || strings.Contains(name, "/"):
		return errors.New("expected a single path component")
	case len(name) > 255:
		return errors.New("expected at most 255 bytes")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("expected printable UTF-8")
	}
	return nil
}

// CheckLine refuses text that would become more than one line of a file.
func CheckLine(key, value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("%s: expected a single line, got control characters", key)
	}
	return nil
}
