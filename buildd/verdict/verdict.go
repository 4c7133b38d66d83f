// Package verdict is run by everybody, the daemon, root outside and inside the namespaces
// of a build, and the client, and touches nothing: it has the words for whose trouble a
// failure is, the package's, the image's, the archive's or the builder's. It is a leaf.
package verdict

// Outcome is how a build ended: the protocol's build status without its
// prefix "BuildStatus." (spec: protocol.md section 5.2).
type Outcome string

// All outcomes.
const (
	OK          Outcome = "OK"
	DepFail     Outcome = "DEPFAIL"
	GivenBack   Outcome = "GIVENBACK"
	PackageFail Outcome = "PACKAGEFAIL"
	ChrootFail  Outcome = "CHROOTFAIL"
	BuilderFail Outcome = "BUILDERFAIL"
	Aborted     Outcome = "ABORTED"
)

// Outcomes are all of them.
func Outcomes() []Outcome {
	return []Outcome{OK, DepFail, GivenBack, PackageFail, ChrootFail, BuilderFail, Aborted}
}

// BuildError is a failure with a verdict. An error that is no BuildError
// gets the status of its stage: BuilderFail in Build, PackageFail in Gather.
type BuildError struct {
	Outcome Outcome
	// Dependencies is set for DepFail: what to wait for, in the form of a
	// Build-Depends field.
	Dependencies string
	// Err is the cause, for the log.
	Err error
	// Advice is one line that tells the reader of the log what to do.
	Advice string
}

// Error is the text of the cause.
func (e *BuildError) Error() string {
	if e.Err == nil {
		return string(e.Outcome)
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Err }
