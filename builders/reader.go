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

// Note takes down what is wrong, unless it is nil.
func (r *Reader) Note(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

// Required reads a line of text that must be set.
func (r *Reader) Required(key string) string {
	s, err := r.Args.String(key)
	r.Note(err)
	r.Note(CheckLine(key, s))
	return s
}

// Optional reads a line of text, or else takes another one.
func (r *Reader) Optional(key, otherwise string) string {
	s, err := r.Args.OptionalString(key)
	r.Note(err)
	r.Note(CheckLine(key, s))
	if s == "" {
		return otherwise
	}
	return s
}

// Bool reads a boolean, false when it is not set.
func (r *Reader) Bool(key string) bool {
	b, err := r.Args.Bool(key)
	r.Note(err)
	return b
}

// Strings reads an array of texts, each of any length and with any characters.
func (r *Reader) Strings(key string) []string {
	list, err := r.Args.Strings(key)
	r.Note(err)
	return list
}

// StringMap reads a struct of texts, in the order in which they came.
func (r *Reader) StringMap(key string) ordered.Map[string] {
	m, err := r.Args.StringMap(key)
	r.Note(err)
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
	r.Note(err)
	return list
}

// Word reads an optional line of text that becomes a word of a command line: it must
// not look like an option.
func (r *Reader) Word(key string) string {
	s := r.Optional(key, "")
	if strings.HasPrefix(s, "-") {
		r.Note(fmt.Errorf("%s: expected no %q at its start", key, "-"))
	}
	return s
}

// Name reads the argument name, that of what is built, which is required and becomes a
// folder.
func (r *Reader) Name() string {
	s := r.Required("name")
	if s == "" {
		return ""
	}
	if err := CheckFileName(s); err != nil {
		r.Note(fmt.Errorf("name: %w", err))
	}
	if strings.HasPrefix(s, "-") {
		r.Note(fmt.Errorf("name: expected no %q at its start", "-"))
	}
	return s
}
