package rpc

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"lpbuildd/buildd"
	"lpbuildd/rpc/xmlrpc"
)

// All fault codes (spec: protocol.md section 3).
const (
	codeUnknown = 8001 // no such method
	codeFailed  = 8002 // everything else
)

// reasonHeader is our addition to the protocol.
const reasonHeader = "X-Fault-Reason"

// Fault is a call that the server refused or could not carry out.
type Fault struct { //nolint:errname // the protocol's own word
	// Code is 8001 for an unknown method and 8002 for everything else.
	Code int
	// String is the protocol's text, which may be just "error".
	String string
	// Reason is one line that says what was wrong; "" if it is the String. A
	// client gets it in plain ASCII, and cut after 500 bytes.
	Reason string
}

// Error shows the code and the reason.
func (f *Fault) Error() string { return fmt.Sprintf("fault %d: %s", f.Code, f.reason()) }

func (f *Fault) reason() string {
	if f.Reason != "" {
		return f.Reason
	}
	return f.String
}

// append adds the fault to b as a reply.
func (f *Fault) append(b []byte) []byte {
	return xmlrpc.AppendFault(b, int32(min(f.Code, math.MaxInt32)), f.String) //nolint:gosec // G115: just limited
}

// failed makes the fault for a method's error. The reason starts with the name
// of the method, unless it speaks of it already.
func failed(method string, err error) *Fault {
	reason := oneLine(err.Error())
	var state *buildd.StateError
	inWrongState := errors.As(err, &state)
	if !inWrongState && !strings.HasPrefix(reason, method+": ") {
		reason = method + ": " + reason
	}
	fault := &Fault{Code: codeFailed, String: reason, Reason: reason}
	if inWrongState && (method == "abort" || method == "clean") {
		fault.String = "error" // pinned: protocol.md sections 8 and 9
	}
	return fault
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
