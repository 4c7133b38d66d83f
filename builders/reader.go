package builders

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"lpbuildd/ordered"
)

// Reader reads the arguments of one build one after the other and collects what is
// wrong. It is for one goroutine.
type Reader struct {
	Args Args
	errs []error
}

// NewReader returns a reader of these arguments.
func NewReader(args Args) *Reader { return &Reader{Args: args} }

// Err is all that was wrong so far, in the order in which it was read; nil for
// nothing.
func (r *Reader) Err() error { return errors.Join(r.errs...) }

func (r *Reader) note(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *Reader) required(key string) string {
	s, err := r.Args.String(key)
	r.note(err)
	r.note(checkLine(key, s))
	return s
}

func (r *Reader) optional(key, otherwise string) string {
	s, err := r.Args.OptionalString(key)
	r.note(err)
	r.note(checkLine(key, s))
	if s == "" {
		return otherwise
	}
	return s
}

func (r *Reader) boolean(key string) bool {
	b, err := r.Args.Bool(key)
	r.note(err)
	return b
}

func (r *Reader) strings(key string) []string {
	list, err := r.Args.Strings(key)
	r.note(err)
	return list
}

func (r *Reader) stringMap(key string) ordered.Map[string] {
	m, err := r.Args.StringMap(key)
	r.note(err)
	return m
}

// keys accepts binary data as well as base64 text. It is put into base64, the
// form that binary data has anyway after a journey through JSON.
func (r *Reader) keys(key string) []string {
	list, err := r.Args.texts(key, func(v any) (string, bool) {
		if data, ok := v.([]byte); ok {
			return base64.StdEncoding.EncodeToString(data), true
		}
		s, ok := v.(string)
		return s, ok
	})
	r.note(err)
	return list
}

// word reads an optional string that becomes a word of a command line.
func (r *Reader) word(key string) string {
	s := r.optional(key, "")
	if strings.HasPrefix(s, "-") {
		r.note(fmt.Errorf("%s: expected no %q at its start", key, "-"))
	}
	return s
}

// name reads the required name of what is built, which becomes a folder.
func (r *Reader) name() string {
	s := r.required("name")
	if s == "" {
		return ""
	}
	if err := checkFileName(s); err != nil {
		r.note(fmt.Errorf("name: %w", err))
	}
	if strings.HasPrefix(s, "-") {
		r.note(fmt.Errorf("name: expected no %q at its start", "-"))
	}
	return s
}
