// Package buildd is run by the daemon, without privileges, and by its operator: it
// owns the one build slot of this machine, with its state, its journal and what is
// said to the supervisor of the build that runs, and touches nothing but the file
// cache and the state folder.
//
// The states and the events between them are the table Transitions. Every
// change is on disk before it is told to anyone, so that a daemon that was
// killed comes back with the same answers. One goroutine (loop) has the slot and
// carries out events: calls, what a supervisor tells, timers, the end of what goes on
// aside. Answers come from a board that it writes on, and wait for nobody. Methods of
// Daemon are safe for concurrent use, and none of them waits for a build's work; only
// Build waits, for what a crash left of the build before to be undone.
package buildd

import (
	"fmt"
	"strings"

	"lpbuildd/buildd/verdict"
	"lpbuildd/filecache"
	"lpbuildd/ordered"
)

// Source says where a file can be fetched from.
type Source = filecache.Source

// Presence answers whether a file is in the cache.
type Presence = filecache.Presence

// Request is a call to build something.
type Request struct {
	// BuildID is the manager's name of the build. It becomes part of paths and
	// must be a single path component.
	BuildID string
	// Tag names the build type, e.g. "binarypackage".
	Tag string
	// Image is the SHA-1 of the base image, which must be in the cache.
	Image string
	// Files maps file names to the SHA-1 of files that must be in the cache. The
	// first that is not there is reported, and builds may go by the order, too.
	Files ordered.Map[string]
	// Args are the arguments of the build type: nil, bool, int64, float64,
	// string, []byte, []any and ordered.Struct, for which a map[string]any will do
	// where the order means nothing. Unknown keys are ignored.
	Args map[string]any
	// Private, EndsWithReset and Proxy are what the daemon itself needs to know of the
	// arguments; who reads the call fills them in. Private says that the files are
	// secret, EndsWithReset that the manager resets the machine after the build instead
	// of calling clean().
	Private       bool
	EndsWithReset bool
	Proxy         ProxyInfo
	// BadInputs is what is wrong with the image or the files as they were sent, nil
	// if nothing is. A build type that is not there is reported before it.
	BadInputs error
	// Malformed is what is wrong with the build id or the arguments as they were
	// sent, nil if nothing is. A build type or file that is not there is reported
	// before it.
	Malformed error
}

// Info describes this builder.
type Info struct {
	// Arch is the default architecture, e.g. "amd64".
	Arch string
	// Tags are the build types, in the order of registration.
	Tags []string
}

// Status is a snapshot of the builder (spec: protocol.md section 6).
type Status struct {
	State State
	// Drained says why a builder that is Idle takes no builds, beginning with
	// DrainedText or BrokenText, and is empty for one that does.
	Drained string
	// Version is the package version of this daemon, "" if it is not known.
	Version string
	// BuildID is empty in Idle.
	BuildID string
	// LogTail is set in Building only, and never nil there.
	LogTail []byte
	// Outcome, FileMap (name to SHA-1) and Dependencies are set in Waiting.
	Outcome      verdict.Outcome
	FileMap      map[string]string
	Dependencies string
	// Extra holds the additional keys of the build type, e.g. revision_id.
	Extra map[string]any
}

// ProxyInfo is what the manager may ask about a build's proxy. A nil field
// was not given to the build.
type ProxyInfo struct {
	UseFetchService    *bool
	RevocationEndpoint *string
}

// UnknownTypeError reports a build type that this builder does not know.
type UnknownTypeError struct {
	Tag   string
	Known []string
}

// Error names the unknown tag and the known ones.
func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("unknown build type %q, known are %s", e.Tag, strings.Join(e.Known, ", "))
}

// UnknownSumError reports that a file is not in the cache.
type UnknownSumError struct {
	// Name is the file's name in the request; "" for the base image.
	Name string
	Sum  string
}

// Error names the file and its checksum.
func (e *UnknownSumError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("the base image %s is not in the file cache", e.Sum)
	}
	return fmt.Sprintf("the file %s (%s) is not in the file cache", e.Name, e.Sum)
}

// Fault is a request that cannot be carried out, and why: one line that names
// the argument and what was expected.
type Fault struct{ Reason string } // a fault is what the protocol calls it

// Error is the reason.
func (e *Fault) Error() string { return e.Reason }

// maxBuildID leaves room for "build-" and a suffix in a file name.
const maxBuildID = 200

// checkBuildID refuses build ids that are no single path component
// (weaknesses.md A13) or that XML cannot carry back (A12).
func checkBuildID(id string) error {
	bad := func(expected string) error {
		return &Fault{Reason: fmt.Sprintf("build: build id: expected %s, got %.60q", expected, id)}
	}
	switch {
	case id == "":
		return bad("a non-empty string")
	case len(id) > maxBuildID:
		return bad(fmt.Sprintf("at most %d bytes", maxBuildID))
	case strings.Contains(id, "/"):
		return bad("a single path component")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r >= '\uFFFD' && r <= '\uFFFF' }):
		return bad("no control characters")
	}
	return nil
}
