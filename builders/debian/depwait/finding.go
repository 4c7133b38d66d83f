package depwait

// Kind is what the log of a build that sbuild gave back says about the reason.
type Kind int

const (
	// None means that the log names no reason: the package has failed.
	None Kind = iota
	// GiveBack means that the build is to be tried again as it is.
	GiveBack
	// Definite means that apt names a dependency that it cannot have. That is
	// not yet one to wait for: apt also says so about a package that it may not
	// install because of a conflict.
	Definite
	// Maybe means that the build dependencies were not installed, and that only
	// they can tell why; see Unsatisfied.
	Maybe
)

// Finding is the result of AnalyseLog.
type Finding struct {
	Kind Kind
	// Depends is what apt names, as Strip returns it. It is set, and never
	// empty, if Kind is Definite. With Maybe it can be set: then it counts if no
	// package of that name is known; see Available.Knows.
	Depends string
}
