package rpc

import (
	"errors"
	"strings"
	"unicode"

	"lpbuildd/buildd"
	"lpbuildd/rpc/wire"
	"lpbuildd/rpc/xmlrpc"
)

// fault is the answer to a call that was refused or could not be carried out.
type fault struct {
	code int32
	// text is the protocol's, which may be just "error".
	text string
	// reason is one line that says what was wrong.
	reason string
}

// append adds the fault to b as a reply.
func (f *fault) append(b []byte) []byte { return xmlrpc.AppendFault(b, f.code, f.text) }

// failed makes the fault for a method's error. The reason starts with the name
// of the method, unless it speaks of it already.
func failed(method string, err error) *fault {
	reason := oneLine(err.Error())
	var state *buildd.StateError
	inWrongState := errors.As(err, &state)
	if !inWrongState && !strings.HasPrefix(reason, method+": ") {
		reason = method + ": " + reason
	}
	f := &fault{wire.CodeFailed, reason, reason}
	if inWrongState && (method == "abort" || method == "clean") {
		f.text = "error" // pinned: protocol.md sections 8 and 9
	}
	return f
}

// oneLine makes one printable line of limited length.
func oneLine(text string) string {
	const longest = 2000
	text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return shortened(text, longest)
}

// shortened cuts a text that is longer than so many bytes.
func shortened(text string, longest int) string {
	if len(text) <= longest {
		return text
	}
	return strings.ToValidUTF8(text[:longest], "") + "..."
}

// headerText makes a reason fit for a header: printable ASCII, 500 bytes.
func headerText(reason string) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, oneLine(reason))
	return text[:min(len(text), 500)]
}
