// Package wire has the words of the builder's protocol, and the answers made of
// them in both directions: what the server writes, the client reads. The daemon
// and its clients run it; it touches nothing.
//
// Together with the method table of the server it is all that knows names on the
// wire (spec: protocol.md). The arguments of a build are none of them: they are the
// manager's words to a build type, and go through as they came.
package wire

import "lpbuildd/buildd"

// MaxBody is the largest body of a call in bytes.
const MaxBody = 32 << 20

// ReasonHeader has the reason of a fault; it is our addition to the protocol.
const ReasonHeader = "X-Fault-Reason"

// BuildLog is the name of the log among the files. It has no checksum.
const BuildLog = "buildlog"

// Fault codes (spec: protocol.md section 3).
const (
	CodeUnknown = 8001 // no such method
	CodeFailed  = 8002 // everything else
)

// protocolVersion is the first element of info (spec: protocol.md section 4.2).
const protocolVersion = "1.0"

// Prefixes of states and outcomes on the wire (spec: protocol.md section 5).
const (
	builderPrefix = "BuilderStatus."
	buildPrefix   = "BuildStatus."
)

// Standard keys of status (spec: protocol.md section 6).
const (
	keyState        = "builder_status"
	keyVersion      = "builder_version"
	keyBuildID      = "build_id"
	keyOutcome      = "build_status"
	keyLogTail      = "logtail"
	keyFileMap      = "filemap"
	keyDependencies = "dependencies"
)

// isStandardKey says whether extra status may not use the key, in any state.
func isStandardKey(key string) bool {
	switch key {
	case keyState, keyVersion, keyBuildID, keyOutcome, keyLogTail, keyFileMap, keyDependencies:
		return true
	}
	return false
}

// Keys of proxy_info (spec: protocol.md section 4.3).
const (
	keyFetchService = "use_fetch_service"
	keyRevocation   = "revocation_endpoint"
)

// State is a state of the builder as it is on the wire.
func State(s buildd.State) string { return builderPrefix + string(s) }
