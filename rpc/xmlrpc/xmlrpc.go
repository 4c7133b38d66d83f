// Package xmlrpc is run by the daemon and its clients, and touches nothing: it
// turns Go values into XML-RPC documents and back. It knows nothing of HTTP, of
// method names or of builders.
//
// The two directions use the same Go types: nil, bool, int64, [BigInt],
// float64, string, []byte, [DateTime], []any and [ordered.Struct], whose members
// have the order of the document. The encoder also takes int, []string, and maps
// of strings or anything, be they ordered or Go's, which it sorts by name.
//
// Decoding reads documents of strangers: it uses no recursion, refuses
// document type declarations and every character that XML 1.0 does not have,
// and gives up beyond [MaxDepth] and [MaxElements]. The size of a document is
// the caller's to limit. All functions may be called concurrently.
package xmlrpc

import (
	"errors"
	"fmt"
)

// Limits of a document, in both directions.
const (
	// MaxDepth is how deep arrays and structs may be nested. The encoder allows
	// one level more, for results that wrap a decoded value.
	MaxDepth = 64
	// MaxElements is how many XML elements a document may have. It bounds the
	// memory that a small document of many empty values can ask for.
	MaxElements = 1_000_000
	// MaxResponse is how long a response may be in bytes: enough for a large call
	// that is echoed, unless it grows by being escaped.
	MaxResponse = 40 << 20
)

// DateTime is the text of a dateTime.iso8601 value. It is passed through, not
// checked: the protocol's own time zone is unknown anyway.
type DateTime string

// BigInt is an integer that does not fit int64: an optional sign and decimal
// digits. It can be sent in calls but not in responses.
type BigInt string

// Call is a decoded methodCall.
type Call struct {
	// Method is the name as it was sent, with any white space.
	Method string
	// Params is never nil.
	Params []any
}

// FaultError is a fault that was received instead of a result.
type FaultError struct {
	Code   int
	String string
}

// Error shows code and text.
func (e *FaultError) Error() string {
	return fmt.Sprintf("XML-RPC fault %d: %s", e.Code, e.String)
}

// ErrIntRange reports an integer that a response cannot carry. Its text is
// part of the protocol (spec: protocol.md section 3).
var ErrIntRange = errors.New("int exceeds XML-RPC limits")

// SyntaxError reports a document that is no XML, or no XML-RPC.
type SyntaxError struct {
	Reason string
	// Line and Column say where, counted from 1; the column counts bytes.
	Line, Column int
}

// Error is one line of text.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d", e.Reason, e.Line, e.Column)
}
