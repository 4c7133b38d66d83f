package xmlrpc

import (
	"fmt"

	"lpbuildd/ordered"
)

// decoder knows the grammar of XML-RPC.
type decoder struct {
	*scanner
	stack []frame // the containers around the current value
}

// tag reads the next tag; only white space may stand before it.
func (d *decoder) tag() (tag, error) {
	text, t, err := d.next()
	if err == nil && !blank(text) {
		err = fmt.Errorf("unexpected text %q", clip(text))
	}
	return t, err
}

// text reads the text of an element that has no other elements in it, and its
// end tag.
func (d *decoder) text() ([]byte, error) {
	text, t, err := d.next()
	if err == nil && t != endTag {
		err = d.unexpected(t, "text")
	}
	return text, err
}

func (d *decoder) is(got, want tag, name string) bool {
	return got == want && string(d.name) == name
}

// want reads the next tag, which must be this one.
func (d *decoder) want(kind tag, name string) error {
	t, err := d.tag()
	switch {
	case err != nil:
		return err
	case kind == endOfDocument && t == endOfDocument, d.is(t, kind, name):
		return nil
	}
	return d.unexpected(t, show(kind, name))
}

func (d *decoder) unexpected(got tag, want string) error {
	return fmt.Errorf("expected %s, got %s", want, show(got, clip(d.name)))
}

func show(t tag, name string) string {
	switch t {
	case startTag:
		return "<" + name + ">"
	case endTag:
		return "</" + name + ">"
	case endOfDocument:
	}
	return "the end of the document"
}

// frame is an array or a struct that is being read.
type frame struct {
	list    []any
	members *ordered.Builder[any] // nil in an array
	name    string                // of the member that is being read
}
